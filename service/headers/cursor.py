"""A position in the bytes of a file, with bounds on how much of it is parsed and how many parts are stepped over."""

from __future__ import annotations

from typing import Literal

MAX_PARSED = 1 << 20
MAX_PARTS = 16_384


class HeaderDamaged(ValueError):
    """The bytes end too early, contradict themselves, or have more parts than anybody would look through."""


class Cursor:
    """Reads a file from its start. Every method that goes beyond the end or the bounds raises HeaderDamaged."""

    def __init__(self, data: bytes, start: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = start
        self.end = len(data) if end is None else end
        self._parsed = 0
        self._parts = 0

    @property
    def left(self) -> int:
        """Return how many bytes follow the position."""
        return self.end - self.at

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes and go on behind them."""
        taken = self.peek(count)
        self._parsed += count
        if self._parsed > MAX_PARSED:
            raise HeaderDamaged(f"it has more than {MAX_PARSED:,} bytes")
        self.at += count
        return taken

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes; the position stays."""
        if count < 0 or self.at + count > self.end:
            raise HeaderDamaged("the file ends too early")
        return self.data[self.at : self.at + count]

    def number(self, count: int, order: Literal["big", "little"] = "big") -> int:
        """Return the next `count` bytes as an unsigned number and go on behind them."""
        return int.from_bytes(self.take(count), order)

    def skip(self, count: int) -> None:
        """Go on behind bytes that nobody looks at; the file may end before that."""
        self.at = min(self.at + count, self.end)

    def count_part(self) -> None:
        """Count one more chunk, segment or box. Raises HeaderDamaged beyond MAX_PARTS."""
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise HeaderDamaged(f"it has more than {MAX_PARTS:,} parts")
