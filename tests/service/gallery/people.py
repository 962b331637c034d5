"""Made-up people, and a clock that is told the time."""

from dataclasses import dataclass, field

import numpy as np

from service.gallery import NewMedium

MODEL = "a" * 64
DIMENSION = 16
MASTER = b"m" * 32


@dataclass
class Clock:
    """Seconds that pass when told to."""

    now: float = 1_700_000_000.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@dataclass
class Faces:
    """Vectors of made-up people: the same person's look alike."""

    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    centres: dict[str, np.ndarray] = field(default_factory=dict)

    def vector(self, person: str) -> np.ndarray:
        """Another photo's vector [D]."""
        centre = self.centres.setdefault(person, self.rng.normal(size=DIMENSION))
        return (centre + 0.1 * self.rng.normal(size=DIMENSION)).astype(np.float32)

    def medium(self, person: str, name: str, frames: int = 1, photo: bytes | None = None) -> NewMedium:
        """A medium of so many frames."""
        vectors = np.stack([self.vector(person) for _ in range(frames)])
        return NewMedium(name, vectors, np.full(frames, 0.9, np.float32), photo)
