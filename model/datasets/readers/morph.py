"""MORPH Album 2 (Ricanek and Tesafaye 2006), 55,134 to 55,608 photos by edition. Licensed by UNC Wilmington, paid.

    Album2/009055_1M54.JPG …        id _ number of the photo, M or F, age
    morph_2008_nonCommercial.csv    optional: id_num, picture_num, dob, doa, race, gender, …, age, …, photo

The file name carries age and gender, so the table is needed for the race label alone.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

from model.datasets import Sample, Split, held_out
from model.datasets.files import listing, needed
from model.datasets.machine_landmarks import with_machine_landmarks

TERMS = "a licence of the University of North Carolina Wilmington; not to be passed on"
SOURCE = "morph"
TABLE = "morph_2008_nonCommercial.csv"
HELD_OUT = 0.01
"""Share of people that training keeps for validation."""
_NAME = re.compile(r"(?P<subject>\d+)_\d+(?P<gender>[MF])(?P<age>\d+)\.jpe?g", re.IGNORECASE)


def read(root: Path) -> list[Sample]:
    """Return samples with age, gender and subject, the race label as group where the table is there.

    Raises FileNotFoundError naming what is missing, ValueError for a photo whose name is not MORPH's.
    """
    folder = needed(root / "Album2", SOURCE)
    races = _races(root / TABLE)
    samples = []
    for name in listing(folder, SOURCE):
        match = _NAME.fullmatch(name.rpartition("/")[2])
        if match is None:
            raise ValueError(f"data set {SOURCE}: {folder / name}: the name is no ID_NUMBER[M|F]AGE.JPG")
        subject = match["subject"]
        split: Split = "val" if held_out(f"morph {subject}", HELD_OUT) else "train"
        samples.append(
            Sample(
                SOURCE,
                f"Album2/{name}",
                folder / name,
                split,
                age=float(match["age"]),
                female=float(match["gender"].upper() == "F"),
                subject=subject,
                group=races.get(name),
            )
        )
    return with_machine_landmarks(samples, root)


def _races(path: Path) -> dict[str, str]:
    """Return the race label of each photo, as the table has it: B, W, A, H, O."""
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = [{key.strip(): value for key, value in row.items() if key} for row in csv.DictReader(file)]
    if table and not {"photo", "race"} <= table[0].keys():
        raise ValueError(f"data set {SOURCE}: {path} has no columns photo and race")
    return {row["photo"].strip().removeprefix("Album2/"): row["race"].strip() for row in table}
