"""Faces are followed by place and looks."""

import numpy as np

from model.identity.tracks import follow_faces

ADA = np.array([1.0, 0.0, 0.0])
BOB = np.array([0.0, 1.0, 0.0])
TURNED = np.array([0.4, 0.0, 0.92])  # ada, hardly to be known


def box(x: float, side: float = 100) -> np.ndarray:
    return np.array([x, 0, x + side, side])


def tracks(*frames: list[tuple[float, np.ndarray]]) -> list[list[tuple[int, int]]]:
    """Return each track as (frame, face) of frames that hold (x, looks)."""
    boxes = [np.array([box(x) for x, _ in frame]).reshape(-1, 4) for frame in frames]
    vectors = [np.array([looks for _, looks in frame]).reshape(-1, 3) for frame in frames]
    found = follow_faces(boxes, vectors, threshold=0.6)
    return [list(zip(track.frames, track.faces, strict=True)) for track in found]


def test_by_looks_wherever_they_are() -> None:
    assert tracks([(0, ADA), (300, BOB)], [(280, BOB), (900, ADA)]) == [[(0, 0), (1, 1)], [(0, 1), (1, 0)]]


def test_by_place_where_looks_do_not_contradict() -> None:
    assert tracks([(0, ADA)], [(30, TURNED)], [(40, ADA)]) == [[(0, 0), (1, 0), (2, 0)]]
    assert tracks([(0, ADA)], [(500, TURNED)]) == [[(0, 0)], [(1, 0)]]
    assert tracks([(0, ADA)], [(0, BOB)]) == [[(0, 0)], [(1, 0)]]


def test_after_a_gap_only_looks_count() -> None:
    assert tracks([(0, ADA)], [], [(0, TURNED)]) == [[(0, 0)], [(2, 0)]]
    assert tracks([(0, ADA)], [], [(700, ADA)]) == [[(0, 0), (2, 0)]]


def test_two_faces_of_one_frame_are_two_tracks() -> None:
    assert tracks([(0, ADA)], [(0, ADA), (200, ADA)]) == [[(0, 0), (1, 0)], [(1, 1)]]
    assert tracks([(0, ADA), (200, ADA)]) == [[(0, 0)], [(0, 1)]]


def test_nothing_to_follow() -> None:
    assert tracks([], []) == []
    assert tracks() == []
