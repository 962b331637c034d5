"""Gives memory that nothing uses any more back to the system, as far as Linux lets a process do that."""

from __future__ import annotations

import ctypes
from collections.abc import Collection
from pathlib import Path

MAPS = Path("/proc/self/maps")
PAGE_OUT = 21
"""MADV_PAGEOUT of Linux: these pages will not be needed soon. A page that is needed is read from its file again."""


def trim_heap() -> None:
    """Have the C library return what it keeps of freed memory, where it can: glibc does, others have no such call.

    After a hundred mixed photos it keeps some 50 MB (docs/log.md, 'Memory at rest').
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def page_out(files: Collection[Path]) -> None:
    """Have the system drop the pages of mapped files, which stay mapped. Does nothing where there is no /proc."""
    if not MAPS.is_file():
        return
    names = {str(file.resolve()) for file in files}
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line in MAPS.read_text().splitlines():
        addresses, *_, name = line.split(maxsplit=5)
        if name in names:
            start, end = (int(address, 16) for address in addresses.split("-"))
            advise(start, end - start, PAGE_OUT)
