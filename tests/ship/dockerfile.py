"""A Dockerfile as stages of instructions; only what ours uses, anything else is an error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = {"FROM", "ARG", "ENV", "RUN", "COPY", "WORKDIR", "USER", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


@dataclass(frozen=True)
class Step:
    """One instruction, its lines joined."""

    word: str
    rest: str

    def values(self) -> dict[str, str]:
        """Of ENV and ARG: the names with their values."""
        pairs = re.findall(r"(\w+)(?:=(?:\"([^\"]*)\"|(\S*)))?", self.rest)
        return {name: quoted or bare for name, quoted, bare in pairs}

    def words(self) -> list[str]:
        """Of ENTRYPOINT and CMD, also that of a HEALTHCHECK: the command in its exec form."""
        return list(json.loads(self.rest[self.rest.index("[") :]))


@dataclass(frozen=True)
class Stage:
    """From FROM to the next."""

    name: str
    base: str
    steps: list[Step] = field(default_factory=list)

    def last(self, word: str) -> Step | None:
        """The instruction of that name that counts."""
        return next((step for step in reversed(self.steps) if step.word == word), None)


def read(path: Path) -> tuple[dict[str, str], dict[str, Stage]]:
    """The global arguments with their defaults, and the stages by name, in order."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE)
    arguments: dict[str, str] = {}
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    for line in filter(str.strip, re.sub(r"\\\n\s*", " ", text).splitlines()):
        word, rest = line.split(maxsplit=1)
        if word not in KNOWN:
            raise ValueError(f"not understood: {line}")
        if word == "FROM":
            base, _, name = re.fullmatch(r"(\S+)( AS (\S+))?", rest).groups()  # type: ignore[union-attr]
            stage = stages[name] = Stage(name, base)
        elif stage is None:
            arguments |= Step(word, rest).values()
        else:
            stage.steps.append(Step(word, rest))
    return arguments, stages
