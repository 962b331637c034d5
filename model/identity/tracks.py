"""Follow faces through the frames of a video, by where they are and by whom they look like.

From one frame to the next a face stays near its place, unless the frames are seconds apart or the scene changes: then
only its looks tell. So a face continues the track that it overlaps and does not contradict, or whose looks it matches.
Two faces of one frame are never one track. Numpy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.identity.pooling_bias import units_of

Floats = NDArray[np.floating[Any]]

OVERLAP = 0.3
"""Intersection over union with the last box of a track from which a face lies where the track's face was."""
CONTRADICTION = 0.5
"""Share of the threshold below which looks speak against one person, wherever the face is."""


@dataclass(eq=False)
class Track:
    """One face through a video: the numbers of its frames, and of its face within each."""

    frames: list[int] = field(default_factory=list)
    faces: list[int] = field(default_factory=list)


@dataclass(eq=False)
class _Open:
    track: Track
    box: Floats  # last one, xyxy
    total: Floats  # sum of the unit vectors


def follow_faces(boxes: Sequence[Floats], vectors: Sequence[Floats], threshold: float) -> list[Track]:
    """Return the tracks of faces with boxes [N, 4] xyxy and vectors [N, D] of each frame, in the order they begin.

    `threshold` is the similarity from which two faces look like one person.
    """
    tracks: list[_Open] = []
    for frame, (places, looks) in enumerate(zip(boxes, vectors, strict=True)):
        units = units_of(np.asarray(looks, np.float32)) if len(looks) else np.zeros((0, 1), np.float32)
        continued = _continued(tracks, frame, np.asarray(places), units, threshold)
        for face in range(len(places)):
            if face not in continued:
                tracks.append(_Open(Track(), places[face], np.zeros_like(units[face])))
            into = continued.get(face, tracks[-1])
            into.track.frames.append(frame)
            into.track.faces.append(face)
            into.box = places[face]
            into.total = into.total + units[face]
    return [each.track for each in tracks]


def _continued(tracks: Sequence[_Open], frame: int, boxes: Floats, units: Floats, threshold: float) -> dict[int, _Open]:
    """Return which track each face of a frame continues, the surest pairs first; a face that begins one is left out."""
    if not tracks or not len(boxes):
        return {}
    totals = np.stack([each.total for each in tracks])
    similarity = units @ (totals / np.maximum(np.linalg.norm(totals, axis=1, keepdims=True), 1e-12)).T
    just_seen = np.array([each.track.frames[-1] == frame - 1 for each in tracks])
    overlap = np.stack([_overlap(boxes, each.box) for each in tracks], axis=1) * just_seen
    stays = (overlap >= OVERLAP) & (similarity >= CONTRADICTION * threshold)
    scores = np.where(stays | (similarity >= threshold), similarity + overlap, -np.inf)
    continued: dict[int, _Open] = {}
    while np.isfinite(best := scores.max()):
        face, track = (int(index) for index in np.argwhere(scores == best)[0])
        continued[face] = tracks[track]
        scores[face] = -np.inf
        scores[:, track] = -np.inf
    return continued


def _overlap(boxes: Floats, box: Floats) -> Floats:
    """Return intersection over union of boxes [N, 4] with one."""
    sides = np.minimum(boxes[:, 2:], box[2:]) - np.maximum(boxes[:, :2], box[:2])
    shared = np.maximum(sides, 0).prod(axis=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return np.asarray(shared / np.maximum(areas - shared, 1e-9))
