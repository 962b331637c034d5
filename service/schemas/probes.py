"""Photos and templates that are compared or enrolled: which face of a photo, and how good it is."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from service.schemas.faces import Box, FaceQuality
from service.schemas.names import Mode

if TYPE_CHECKING:
    from service.gallery import Vector


def told_as(text: str) -> WrapValidator:
    """Return a validator that says in one sentence what a value of several types should be."""

    def validate(value: object, handler: ValidatorFunctionWrapHandler) -> object:
        try:
            return handler(value)
        except ValidationError as error:
            raise PydanticCustomError("choice", "{text}", {"text": text}) from error

    return WrapValidator(validate)


Choice = Annotated[
    Literal["largest", "only"] | Annotated[int, Field(ge=0, le=99)],
    told_as("Input should be 'largest', 'only' or a number from 0 to 99"),
    Field(description="which face of a photo: the largest, the only one, or a number from 0, largest first"),
]
MAX_DIMENSION = 4096


class ProbeOptions(BaseModel):
    """Options of every request with photos to compare or enrol."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    face: Choice = "largest"


class TemplatesOptions(ProbeOptions):
    """Options of a template made of photos and handed out."""

    mode: Mode = Field("media", description="how the photos are pooled")


class Template(BaseModel):
    """A face as it is compared. It identifies a person: keep it as you would keep a password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="digest of the model's weights", max_length=128)
    vector: str = Field(
        repr=False, description="float32 numbers, little-endian, in base64", max_length=8 * MAX_DIMENSION
    )
    media: int = Field(1, ge=1, le=100_000, description="how many are pooled in it: thresholds rise with them")

    @field_validator("vector")
    @classmethod
    def _numbers(cls, value: str) -> str:
        try:
            size = len(base64.b64decode(value, validate=True))
        except (binascii.Error, ValueError):
            raise ValueError("not base64") from None
        if not size or size % 4 or size > 4 * MAX_DIMENSION:
            raise ValueError("not a row of float32 numbers")
        return value

    def numbers(self) -> Vector:
        """Return the vector [D] as float32."""
        import numpy as np  # noqa: PLC0415 - the client installs without it

        return np.frombuffer(base64.b64decode(self.vector), "<f4").astype(np.float32)

    @classmethod
    def of(cls, model: str, vector: Vector, media: int) -> Template:
        """Return the template of a vector [D] and the number of media pooled in it."""
        import numpy as np  # noqa: PLC0415 - the client installs without it

        return cls(model=model, media=media, vector=base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode())


class TemplateResponse(BaseModel):
    """A template made of photos; nothing of it is kept here."""

    template: Template
    faces: list[FaceUsed] = Field(description="of the photos, in order")


class Quality(FaceQuality):
    """How good a face is for enrolling, and why it is not good enough."""

    reasons: list[str] = Field(description="what keeps it below the quality asked for, worst first")


class FaceUsed(BaseModel):
    """The face of a photo that was compared or enrolled, and its quality."""

    box: Box
    quality: Quality
    faces_seen: int = Field(description="how many faces the photo shows")
