"""Fields that several requests and responses share, with what the OpenAPI document says of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from service.schemas.faces import rounded

Similarity = Annotated[FiniteFloat, rounded(6)]
SubjectName = Annotated[str, Field(description="name of the subject")]
Epoch = Annotated[float, Field(description="seconds since 1970")]
Cursor = Annotated[str | None, Field(description="asks for the next part; null: this is the last")]
TimeToLive = Annotated[float, Field(gt=0, le=1e10)]
ScoreName = Annotated[
    Literal["tpe", "cosine"],
    Field(description="what the similarities are of: cosine of descriptors, or of vectors by a triplet embedding"),
]
Far = Annotated[float, Field(description="false accept rate that was applied")]
Thresholds = Annotated[
    dict[str, Similarity],
    Field(
        description="similarity from which two faces count as one person, by false accept rate",
        examples=[{"0.001": 0.4}],
    ),
]
