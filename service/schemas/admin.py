"""What administrators send and get: exports, merges, a change of the model, API keys."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from service.schemas.faces import Digest
from service.schemas.names import Role


class ExportOptions(BaseModel):
    """The request of an export: the passphrase that encrypts the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    passphrase: str = Field(min_length=8, max_length=1000, repr=False, description="an import of the file asks for it")


class MergeOptions(BaseModel):
    """The request of a merge: the collection whose subjects are added to another; it stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    source: str = Field(description="name of the other collection")


class Merged(BaseModel):
    """The result of a merge: how many subjects were added or completed."""

    subjects: int = Field(description="how many subjects were added or completed")


class Renewed(BaseModel):
    """The result of enrolling a collection again under the model that answers now."""

    done: bool = Field(description="false: the old templates still serve, since somebody must come again")
    moved: int = Field(description="how many subjects were enrolled again")
    must_come_again: list[str] = Field(description="subjects without all their photos kept")
    model: Digest


class KeyRotated(BaseModel):
    """The result of encrypting a collection under a new key; the old key is deleted."""

    damaged: list[str] = Field(description="subjects that could not be read and were left behind")


class KeyOptions(BaseModel):
    """The request of a new API key."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    label: str = Field(min_length=1, max_length=100, description="a name for people, shown in the list of keys")
    roles: list[Role] = Field(min_length=1, description="what it permits; no role includes another, except `admin`")
    rate: float | None = Field(None, gt=0, le=1e6, description="requests a second on average")
    burst: int = Field(20, ge=1, le=1_000_000, description="requests at once")
    expires: FiniteFloat | None = Field(None, description="seconds since 1970 after which it no longer works")
    collections: list[Annotated[str, Field(min_length=1, max_length=257)]] = Field(
        [], max_length=100, description="the only ones that it sees: names, or prefixes with * at the end; none: all"
    )


class RotateOptions(BaseModel):
    """The request of a new secret for an API key."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    grace: float = Field(0, ge=0, le=30 * 86400, description="seconds for which the old secret works too")


class KeyResponse(BaseModel):
    """A key without its secret; times are seconds since 1970."""

    id: str = Field(description="the key's public part, in the audit log too")
    label: str = Field(description="a name for people")
    roles: list[Role] = Field(description="what it permits")
    created: float = Field(description="seconds since 1970")
    rate: float | None = Field(description="requests a second on average; null: any number")
    burst: int = Field(description="requests at once")
    expires: float | None = Field(description="seconds since 1970 after which it no longer works; null: never")
    collections: list[str] = Field(description="the only ones that it sees; none: all")
    last_used: float | None = Field(description="to a minute; null if it never was, or was just made")


class NewKey(KeyResponse):
    """A key that was just made; `key` is shown this once."""

    key: str = Field(repr=False, description="what callers send; it is shown this once")


class Keys(BaseModel):
    """All API keys of the store, oldest first."""

    keys: list[KeyResponse]
