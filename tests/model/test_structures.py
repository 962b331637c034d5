"""Containers of arrays of one length."""

from dataclasses import replace

import numpy as np
import pytest

from model.structures import Faces, Proposals


def proposals(count: int, first: int = 0) -> Proposals:
    boxes = np.arange(first, first + count * 4, dtype=np.float32).reshape(count, 4)
    return Proposals(np.arange(count), boxes, np.linspace(0, 1, count, dtype=np.float32))


def test_length_is_the_first_dimension():
    assert len(proposals(3)) == 3
    assert len(proposals(0)) == 0


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"Proposals needs arrays of one length.*'scores': 3"):
        Proposals(np.zeros(2), np.zeros((2, 4)), np.zeros(3))


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (slice(1, 3), [1, 2]),
        ([3, 0], [3, 0]),
        (np.array([2, 2]), [2, 2]),
        (np.array([True, False, False, True]), [0, 3]),
        ([], []),
        (slice(None, None, 2), [0, 2]),
    ],
)
def test_indexing_takes_the_same_rows_of_every_array(index, expected):
    whole = proposals(4)
    part = whole[index]
    assert isinstance(part, Proposals)
    assert part.image_index.tolist() == expected
    assert part.boxes.tolist() == [whole.boxes[i].tolist() for i in expected]
    assert part.scores.tolist() == [whole.scores[i].item() for i in expected]


def test_an_integer_would_drop_the_dimension():
    with pytest.raises(TypeError, match="slice, a list or an array"):
        proposals(2)[1]


def test_an_index_out_of_range_raises():
    with pytest.raises(IndexError):
        proposals(2)[[2]]


def test_cat_keeps_the_order_and_takes_empty_parts():
    joined = Proposals.cat([proposals(2), proposals(0), proposals(1, first=100)])
    assert joined.image_index.tolist() == [0, 1, 0]
    assert joined.boxes[2].tolist() == [100, 101, 102, 103]


def test_cat_of_nothing():
    with pytest.raises(ValueError, match="nothing"):
        Proposals.cat([])


def test_they_are_frozen():
    with pytest.raises(AttributeError):
        proposals(1).scores = np.zeros(1)


def test_facts_of_the_whole_stay_through_indexing_and_joining():
    some = replace(Faces.empty(), seen=5, searched_min_size=81.0)
    for found in (some[:0], Faces.cat([some, Faces.empty()])):
        assert (found.more, found.searched_min_size) == (True, 81.0)


def test_no_faces():
    none = Faces.empty()
    assert len(none) == 0
    assert none.landmarks.shape == (0, 21, 2)
    assert none.descriptor.shape == (0, 512)
    assert len(Faces.cat([none, none])) == 0
