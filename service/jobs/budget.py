"""How many bytes of jobs are kept: photos that wait and results that were not fetched."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Bytes of all jobs together, and of the jobs of one API key; without keys everybody is one owner."""

    total: int
    per_owner: int
