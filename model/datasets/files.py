"""The files of an original archive: what is missing is named, .mat files of either kind are read alike."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

PHOTOS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")


def needed(path: Path, source: str) -> Path:
    """Return the path, which must exist. Raises FileNotFoundError naming the data set and the path."""
    if not path.exists():
        raise FileNotFoundError(f"data set {source}: {path} is missing")
    return path


def first_of(paths: Iterable[Path], source: str) -> Path:
    """Return the first of several possible places of a file or folder. Raises FileNotFoundError naming all of them."""
    tried = list(paths)
    for path in tried:
        if path.exists():
            return path
    raise FileNotFoundError(f"data set {source}: {' or '.join(str(path) for path in tried)} is missing")


def rows(path: Path, source: str, separator: str | None = None) -> list[list[str]]:
    """Return the fields of each line that holds any, split at white space unless a separator is given."""
    lines = needed(path, source).read_text(encoding="utf-8-sig").splitlines()
    return [[field.strip() for field in line.split(separator)] for line in lines if line.strip()]


def listing(folder: Path, source: str) -> list[str]:
    """Return the photos anywhere below a folder, relative to it, sorted. Raises FileNotFoundError without any."""
    photos = []
    for parent, folders, names in os.walk(needed(folder, source)):
        folders.sort()
        place = Path(parent).relative_to(folder).as_posix()
        photos += [name if place == "." else f"{place}/{name}" for name in names if name.lower().endswith(PHOTOS)]
    if not photos:
        raise FileNotFoundError(f"data set {source}: no photo below {folder}")
    return sorted(photos)


def check(names: Iterable[str], folder: Path, source: str) -> None:
    """Raises FileNotFoundError naming the first photo that the labels have and the folder has not, and how many."""
    required = list(dict.fromkeys(names))
    present = set(listing(folder, source))
    if missing := [name for name in required if name not in present]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise FileNotFoundError(f"data set {source}: {folder / missing[0]}{more} missing")


def mat(path: Path, source: str) -> dict[str, Any]:
    """Return the variables of a .mat file up to version 7; structures have attributes, cells are object arrays.

    Raises FileNotFoundError, ValueError for another kind of file, NotImplementedError for version 7.3 (HDF5).
    """
    from scipy.io import loadmat  # noqa: PLC0415 - an extra that only these sets need

    needed(path, source)
    try:
        variables: dict[str, Any] = loadmat(path, squeeze_me=True, struct_as_record=False)
    except NotImplementedError:
        raise
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"data set {source}: {path} is no readable .mat file") from error
    return variables


def column(value: Any, kind: type = object) -> Any:
    """Return a MATLAB column or cell as an array [N], also where squeezing left one bare element."""
    return np.atleast_1d(np.asarray(value, dtype=kind))
