"""Whom the comparison of faces serves worse: CelebA's test people by gender, age label, yaw and face size.

One threshold for all, that of a false accept rate of 1e-3 over all pairs of the 58 people's photos, by the cosine. In
each group the pairs of which both photos are in it: the share of mates accepted (TAR), and of strangers (FAR, in
thousandths). Gender and 'Young' are the set's labels, yaw and size of the box the network's own estimates. Photos
without a face are left out. UTKFace has one photo of a person, so by its race labels nothing can be measured.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from model.evaluate import celeba, metrics
from model.evaluate.result import Figure, Result, Row, Table
from model.evaluate.run import Analyzed, Run

FAR = 1e-3
YAW = ((0, 15), (15, 30), (30, 180))
SIDE = ((0, 80), (80, 120), (120, 10_000))


def evaluate(run: Run) -> Result:
    """Run the protocol. Raises FileNotFoundError without the photos of `celeba_wild`."""
    photos = run.analyze(run.some(celeba.test_samples(run)), "celeba")
    return score(photos, young_photos(run.root("celeba_wild") / "labels.csv"))


def young_photos(table: Path) -> set[str]:
    """Return the names of the samples that the set labels 'Young'."""
    with table.open() as file:
        return {f"{row['partition']}/{row['image']}" for row in csv.DictReader(file) if row["Young"] == "1"}


def score(photos: Sequence[Analyzed], young: set[str]) -> Result:
    """Return the protocol's result for analyzed photos, given the names of those labelled 'Young'."""
    faces = [(photo, face) for photo in photos if (face := photo.main_face()) is not None]
    descriptors = np.stack([photo.faces.descriptor[face] for photo, face in faces]).astype(np.float64)
    subjects = np.array([str(photo.sample.subject) for photo, _ in faces])
    first, second = np.triu_indices(len(faces), 1)
    scores = (descriptors @ descriptors.T)[first, second]
    same = subjects[first] == subjects[second]
    strangers = np.sort(scores[~same])
    threshold = strangers[len(strangers) - 1 - int(FAR * len(strangers))]
    rows = [_row(name, in_group, scores > threshold, same, (first, second)) for name, in_group in _groups(faces, young)]
    table = Table("CelebA test people by group", ("group", "photos", "mates", "TAR %", "FAR ‰"), rows)
    figures = (
        Figure("tar_at_far_0.001", 100 * float((scores[same] > threshold).mean())),
        Figure("threshold", float(threshold), "cosine"),
    )
    return Result("people", len(faces), figures, (table,))


def _groups(faces: Sequence[tuple[Analyzed, int]], young: set[str]) -> list[tuple[str, metrics.Flags]]:
    female = np.array([photo.sample.female == 1 for photo, _ in faces])
    is_young = np.array([photo.sample.name in young for photo, _ in faces])
    yaw = np.array([abs(float(photo.faces.pose[face, 2])) for photo, face in faces])
    boxes = np.stack([photo.faces.boxes[face] for photo, face in faces])
    side = (boxes[:, 2:] - boxes[:, :2]).min(axis=1)
    groups = [("all", np.ones(len(faces), bool)), ("female", female), ("male", ~female)]
    groups += [("labelled young", is_young), ("not labelled young", ~is_young)]
    for title, values, edges, unit in (("yaw", yaw, YAW, "°"), ("face", side, SIDE, " px")):
        for low, high in edges:
            upper = " +" if high == edges[-1][1] else f"–{high}"
            groups.append((f"{title} {low}{upper}{unit}", (values >= low) & (values < high)))
    return groups


def _row(
    name: str,
    in_group: metrics.Flags,
    accepted: metrics.Flags,
    same: metrics.Flags,
    pairs: tuple[metrics.Integers, metrics.Integers],
) -> Row:
    inside = in_group[pairs[0]] & in_group[pairs[1]]
    mates = inside & same
    strangers = inside & ~same
    tar, far = (float(accepted[part].mean()) if part.any() else float("nan") for part in (mates, strangers))
    return name, int(in_group.sum()), int(mates.sum()), 100 * tar, 1000 * far
