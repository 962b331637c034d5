"""Nothing is stored that no answer could hold."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.gallery import MAX_DEPTH, MAX_METADATA, NewMedium, errors
from service.gallery.checks import check_metadata, checked_subject, clean_medium, clean_name, unit_vector
from service.gallery.gallery import Gallery
from service.schemas.subjects import SubjectResponse
from tests.service.gallery.people import MODEL, Faces

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters()), JSON, max_size=4))
def test_metadata_that_pass_can_be_answered(metadata: dict):
    try:
        check_metadata(metadata)
    except errors.InvalidSubject:
        return
    fields = {"id": "a", "created": 0, "updated": 0, "expires": None, "template": False, "media": [], "model": "m"}
    answer = SubjectResponse(metadata=metadata, **fields).model_dump_json()
    assert json.loads(answer)["metadata"] == json.loads(json.dumps(metadata))


def nested(levels: int) -> dict:
    value: object = 1
    for _ in range(levels - 1):
        value = [value]
    return {"a": value}


@pytest.mark.parametrize(
    "metadata",
    [
        {"a": "\ud800"},
        {"\udfff": 1},
        {"a": float("nan")},
        {"a": float("inf")},
        nested(MAX_DEPTH + 1),
        nested(100_000),
        {"a": {1, 2}},
    ],
)
def test_bad_metadata_are_refused(gallery: Gallery, metadata: dict):
    with pytest.raises(errors.InvalidSubject):
        gallery.put_subject("people", "ada", metadata)
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("people", "ada")


def test_the_bounds_themselves_are_taken(gallery: Gallery):
    gallery.put_subject("people", "deep", nested(MAX_DEPTH))
    gallery.put_subject("people", "long", {"a": "x" * (MAX_METADATA - 9)})
    with pytest.raises(errors.SubjectTooLarge):
        gallery.put_subject("people", "long", {"a": "x" * (MAX_METADATA - 8)})
    assert {subject.id for subject in gallery.subjects("people").items} == {"deep", "long"}


@given(st.text(max_size=20))
def test_a_clean_name_stays_as_it_is(name: str):
    try:
        clean = clean_name(name)
    except errors.InvalidName:
        return
    assert clean == clean_name(clean) == unicodedata.normalize("NFC", name)


def test_two_ways_to_write_a_name_are_one_person(gallery: Gallery, faces: Faces):
    gallery.put_subject("people", "zo\u00eb", {"badge": 1})
    gallery.add_media("people", "zoe\u0308", MODEL, [faces.medium("zoe", "m\u00e9")], create=True)
    assert gallery.subject("people", "zoe\u0308").metadata == {"badge": 1}
    assert [medium.id for medium in gallery.subject("people", "zo\u00eb").media] == ["m\u00e9"]
    gallery.delete_medium("people", "zo\u00eb", "me\u0301")
    assert gallery.collection("people").subjects == 1


@pytest.mark.parametrize("value", [1e38, 1e7, np.nan, np.inf, -1e30])
def test_numbers_that_are_no_descriptor_are_refused(value: float):
    vector = np.ones(16, np.float32)
    vector[3] = value
    with pytest.raises(errors.InvalidSubject):
        unit_vector(vector, 16)
    with pytest.raises(errors.InvalidSubject):
        clean_medium(NewMedium("m", vector[None], np.ones(1, np.float32)), 16)


def test_long_and_short_vectors_keep_their_direction():
    direction = np.array([3, 4], np.float32)
    for scale in (1e-5, 1, 2e5):
        np.testing.assert_allclose(unit_vector(direction * np.float32(scale), 2), [0.6, 0.8], rtol=1e-6)
    with pytest.raises(errors.InvalidSubject):
        unit_vector(direction * np.float32(1e-30), 2)


def test_a_subject_from_a_file_is_checked_too(gallery: Gallery, faces: Faces):
    subject = gallery.add_media("people", "ada", MODEL, [faces.medium("ada", "m")], create=True)
    checked_subject(subject, 16)
    for field, value in (("id", "a/b"), ("metadata", {"a": "\ud800"}), ("ttl", -1.0), ("created", np.nan)):
        changed = type(subject)(
            **{**{name: getattr(subject, name) for name in subject.__dataclass_fields__}, field: value}
        )
        with pytest.raises((errors.InvalidName, errors.InvalidSubject)):
            checked_subject(changed, 16)
    with pytest.raises(errors.InvalidSubject):
        checked_subject(subject, 15)


def test_copies_of_one_photo_count_once(gallery: Gallery, faces: Faces):
    vector = faces.vector("ada")
    rng = np.random.default_rng(0)
    copies = [
        NewMedium(f"copy{i}", (vector + rng.normal(size=16) * 1e-3)[None].astype(np.float32), np.ones(1, np.float32))
        for i in range(20)
    ]
    gallery.add_media("people", "ada", MODEL, copies, create=True)
    assert gallery.verify("people", "ada", MODEL, vector).media == 1
    gallery.add_media("people", "ada", MODEL, [faces.medium("ada", "other")])
    match = gallery.verify("people", "ada", MODEL, vector)
    assert (match.media, gallery.search("people", MODEL, vector).matches[0].media) == (2, 2)
