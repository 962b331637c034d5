"""Similarities on other products' scales."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.http.compat.scale import COMPREFACE_SCALE, REKOGNITION_SCALE, Scale
from tests.service.gallery.served import calibration

SIMILARITIES = st.floats(-1, 1)
SCALES = pytest.mark.parametrize("scale", [COMPREFACE_SCALE, REKOGNITION_SCALE])


@SCALES
@settings(deadline=None)
@given(similarity=SIMILARITIES, threshold=SIMILARITIES, coarse=st.booleans())
def test_the_recommended_value_is_at_the_threshold(scale: Scale, similarity: float, threshold: float, coarse: bool):
    share = scale.place(similarity, threshold, calibration(), coarse)
    assert 0 <= share <= 1
    assert (share >= scale.recommended) is (similarity >= threshold)
    assert scale.place(threshold, threshold, calibration()) == scale.recommended


@SCALES
@settings(deadline=None)
@given(pair=st.tuples(SIMILARITIES, SIMILARITIES), threshold=SIMILARITIES, coarse=st.booleans())
def test_it_grows_with_the_similarity(scale: Scale, pair: tuple[float, float], threshold: float, coarse: bool):
    low, high = (scale.place(each, threshold, calibration(), coarse) for each in sorted(pair))
    assert low <= high


@SCALES
@settings(deadline=None)
@given(threshold=st.floats(-0.5, 0.5))
def test_people_who_are_certainly_the_same_are_far_from_strangers(scale: Scale, threshold: float):
    assert scale.place(1, threshold, calibration()) > scale.recommended > scale.place(-1, threshold, calibration())


@settings(deadline=None)
@given(similarity=SIMILARITIES, threshold=SIMILARITIES)
def test_a_coarse_share_tells_the_similarity_to_a_hundredth_only(similarity: float, threshold: float):
    """All similarities that our own API rounds to the same hundredth have the same share, on either side of it."""
    hundredth = round(similarity, 2)
    if (similarity >= threshold) is (hundredth >= threshold) and not math.isclose(similarity, threshold):
        expected = COMPREFACE_SCALE.place(hundredth, threshold, calibration(), coarse=True)
        assert COMPREFACE_SCALE.place(similarity, threshold, calibration(), coarse=True) == expected
