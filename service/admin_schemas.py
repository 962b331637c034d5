"""What administrators send and get: exports, merges, a change of the model, API keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from service.keys import Role


class ExportAsked(BaseModel):
    """The passphrase that opens the exported file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    passphrase: str = Field(min_length=8, max_length=1000, repr=False)


class MergeAsked(BaseModel):
    """The collection whose subjects are added; it stays."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str


class Merged(BaseModel):
    """How many subjects were added or completed."""

    subjects: int


class Renewed(BaseModel):
    """What became of a collection under the model that answers now."""

    done: bool = Field(description="false: the old templates still serve, since somebody must come again")
    moved: int
    must_come_again: list[str] = Field(description="subjects without all their photos kept")
    model: str


class KeyAsked(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    label: str = Field(min_length=1, max_length=100)
    roles: list[Role] = Field(min_length=1)
    rate: float | None = Field(None, gt=0, le=1e6, description="requests a second on average")
    burst: int = Field(20, ge=1, le=1_000_000, description="requests at once")


class KeyOut(BaseModel):
    """A key without its secret."""

    id: str
    label: str
    roles: list[Role]
    created: float
    rate: float | None
    burst: int


class NewKey(KeyOut):
    """A key that was just made; `key` is shown this once."""

    key: str = Field(repr=False)


class Keys(BaseModel):
    """All keys, oldest first."""

    keys: list[KeyOut]
