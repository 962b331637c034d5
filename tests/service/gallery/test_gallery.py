"""The gallery over both stores: enrol, verify, identify, list, forget; what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from service.crypto.vault import Vault, VaultLocked
from service.gallery import MAX_MEDIA, MAX_METADATA, NewMedium, Policy, errors
from service.gallery.gallery import Gallery
from service.gallery.indexes import template_indexes
from service.gallery.upkeep import STAGED_SECONDS, purge, rewrap, rotate
from tests.service.gallery.people import DIMENSION, MASTER, MODEL


@pytest.fixture
def enrolled(gallery, faces):
    """Ada with two media, Alan and Grace with one each."""
    for person, count in (("Ada", 2), ("Alan", 1), ("Grace", 1)):
        media = [faces.medium(person, f"{person}-{i}") for i in range(count)]
        gallery.add_media("people", person, MODEL, media, create=True)
    return gallery


def test_verify_and_search_tell_people_apart(enrolled, faces):
    probe = faces.vector("Ada")
    assert enrolled.verify("people", "Ada", MODEL, probe).similarity > 0.9
    assert enrolled.verify("people", "Alan", MODEL, probe).similarity < 0.7
    matches = enrolled.search("people", MODEL, probe, 3).matches
    assert matches[0].subject == "Ada"
    assert [m.similarity for m in matches] == sorted((m.similarity for m in matches), reverse=True)
    assert matches[0] == enrolled.verify("people", "Ada", MODEL, probe)
    assert [m.media for m in matches if m.subject == "Ada"] == [2]
    assert {m.subject for m in matches} == {"Ada", "Alan", "Grace"}
    assert len(enrolled.search("people", MODEL, probe, 1).matches) == 1


def test_a_template_is_the_pool_of_its_media(gallery, faces):
    media = [faces.medium("Ada", "video", frames=4), faces.medium("Ada", "photo")]
    subject = gallery.add_media("people", "Ada", MODEL, media, create=True)
    expected = media[0].vectors.mean(0) + media[1].vectors[0]
    np.testing.assert_allclose(subject.template, expected / np.linalg.norm(expected), atol=1e-6)
    np.testing.assert_allclose(gallery.template("people", "Ada", MODEL), subject.template, atol=1e-6)
    again = gallery.subject("people", "Ada")
    np.testing.assert_allclose(again.template, subject.template, atol=1e-6)
    assert [(m.id, m.vectors.shape) for m in again.media] == [("video", (4, DIMENSION)), ("photo", (1, DIMENSION))]


def test_the_same_medium_twice_changes_nothing_and_deleting_one_pools_anew(enrolled, faces):
    before = enrolled.subject("people", "Ada")
    repeated = [NewMedium(m.id, m.vectors, m.quality) for m in before.media]
    after = enrolled.add_media("people", "Ada", MODEL, repeated)
    np.testing.assert_allclose(after.template, before.template, atol=1e-6)
    assert len(after.media) == 2
    left = enrolled.delete_medium("people", "Ada", "Ada-0")
    alone = before.media[1].vectors[0]
    np.testing.assert_allclose(left.template, alone / np.linalg.norm(alone), atol=1e-6)
    with pytest.raises(errors.MediumNotFound):
        enrolled.delete_medium("people", "Ada", "Ada-0")
    assert enrolled.delete_medium("people", "Ada", "Ada-1").template is None
    with pytest.raises(errors.NoTemplate):
        enrolled.verify("people", "Ada", MODEL, alone)
    assert "Ada" not in {m.subject for m in enrolled.search("people", MODEL, alone).matches}


def test_an_outlier_is_marked(gallery, faces):
    gallery.put_collection("strict", MODEL, DIMENSION, Policy(reject_below=0.8))
    media = [faces.medium("Ada", str(i)) for i in range(4)]
    subject = gallery.add_media("strict", "Ada", MODEL, [*media, faces.medium("Alan", "alan")], create=True)
    assert [m.used for m in subject.media] == [True] * 4 + [False]


def test_subjects_have_metadata_which_search_shows(gallery, faces):
    subject, created = gallery.put_subject("people", "Zoë 😀", {"badge": 7, "äö": [1, None]})
    assert created
    assert subject.template is None
    gallery.add_media("people", "Zoë 😀", MODEL, [faces.medium("z", "m")])
    again, created = gallery.put_subject("people", "Zoë 😀")
    assert not created
    assert again.metadata == {"badge": 7, "äö": [1, None]}
    assert len(again.media) == 1
    (match,) = gallery.search("people", MODEL, faces.vector("z")).matches
    assert (match.subject, match.metadata) == ("Zoë 😀", again.metadata)
    assert gallery.put_subject("people", "Zoë 😀", {})[0].metadata == {}


def test_collections_are_made_once(gallery):
    found, created = gallery.put_collection("people", MODEL, DIMENSION, Policy(mode="median"))
    assert not created
    assert found.policy.mode == "media"
    with pytest.raises(errors.ModelMismatch, match="enrol"):
        gallery.put_collection("people", "b" * 64, DIMENSION)
    made, created = gallery.put_collection("other", MODEL, DIMENSION, Policy(mode="median", ttl=5.0))
    assert created
    assert made == gallery.collection("other")
    assert {c.name for c in gallery.collections().items} == {"people", "other"}


def test_another_models_vectors_are_refused(enrolled, faces):
    other = "b" * 64
    for call in (
        lambda: enrolled.add_media("people", "Ada", other, [faces.medium("Ada", "x")]),
        lambda: enrolled.verify("people", "Ada", other, faces.vector("Ada")),
        lambda: enrolled.search("people", other, faces.vector("Ada")),
        lambda: enrolled.template("people", "Ada", other),
    ):
        with pytest.raises(errors.ModelMismatch) as caught:
            call()
        assert caught.value.status == 409


def test_what_is_missing_is_named(enrolled, faces):
    for call in (
        lambda: enrolled.subject("people", "Nobody"),
        lambda: enrolled.delete_subject("people", "Nobody"),
        lambda: enrolled.verify("people", "Nobody", MODEL, faces.vector("Ada")),
        lambda: enrolled.add_media("people", "Nobody", MODEL, [faces.medium("Ada", "x")]),
        lambda: enrolled.delete_medium("people", "Nobody", "x"),
    ):
        with pytest.raises(errors.SubjectNotFound):
            call()
    for call in (
        lambda: enrolled.collection("none"),
        lambda: enrolled.subject("none", "Ada"),
        lambda: enrolled.put_subject("none", "Ada"),
        lambda: enrolled.search("none", MODEL, faces.vector("Ada")),
        lambda: enrolled.delete_collection("none"),
    ):
        with pytest.raises(errors.CollectionNotFound):
            call()


@pytest.mark.parametrize("name", ["", "a" * 257, "é" * 129, "a\nb", "a\x00", "\x7f", "\ud800"])
def test_bad_names_are_refused(gallery, name):
    for call in (
        lambda: gallery.put_collection(name, MODEL, DIMENSION),
        lambda: gallery.put_subject("people", name),
        lambda: gallery.subject("people", name),
        lambda: gallery.collection(name),
    ):
        with pytest.raises(errors.InvalidName):
            call()


def test_bad_data_are_refused_and_nothing_changes(enrolled, faces):
    before = enrolled.subject("people", "Ada")
    good = faces.medium("Ada", "good")
    one = np.ones(1, np.float32)
    bad = [
        NewMedium("x", np.full((1, DIMENSION), np.nan, np.float32), one),
        NewMedium("x", np.zeros((1, DIMENSION), np.float32), one),
        NewMedium("x", np.ones((1, DIMENSION + 1), np.float32), one),
        NewMedium("x", np.ones((0, DIMENSION), np.float32), one[:0]),
        NewMedium("x", np.ones((1, DIMENSION), np.float32), one * 2),
    ]
    for medium in bad:
        with pytest.raises(errors.InvalidSubject):
            enrolled.add_media("people", "Ada", MODEL, [good, medium])
    with pytest.raises(errors.SubjectTooLarge):
        enrolled.add_media("people", "Ada", MODEL, [faces.medium("Ada", str(i)) for i in range(MAX_MEDIA)])
    for metadata in ({"x": float("nan")}, {"x": {1, 2}}):
        with pytest.raises(errors.InvalidSubject):
            enrolled.put_subject("people", "Ada", metadata)
    with pytest.raises(errors.SubjectTooLarge):
        enrolled.put_subject("people", "Ada", {"x": "y" * MAX_METADATA})
    for probe in (np.zeros(DIMENSION), np.ones(3), np.full(DIMENSION, np.inf)):
        with pytest.raises(errors.InvalidSubject):
            enrolled.search("people", MODEL, probe)
    after = enrolled.subject("people", "Ada")
    np.testing.assert_allclose(after.template, before.template, atol=1e-6)
    assert [m.id for m in after.media] == [m.id for m in before.media]
    with pytest.raises(errors.InvalidSubject):
        enrolled.subjects("people", "no cursor")


def test_listing_goes_over_everything_once(gallery, faces):
    names = {f"person {i}" for i in range(23)}
    for name in names:
        gallery.put_subject("people", name)
    seen, cursor = [], None
    while True:
        page = gallery.subjects("people", cursor, 5)
        seen += [s.id for s in page.items]
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(names)
    for i in range(7):
        gallery.put_collection(f"c{i}", MODEL, DIMENSION)
    first = gallery.collections(limit=5)
    rest = gallery.collections(first.cursor, limit=50)
    assert len({c.name for c in first.items + rest.items}) == 8
    assert rest.cursor is None
    assert gallery.collection("people").subjects == 23


def test_deletion_is_complete_at_once_and_has_a_receipt(enrolled, faces, clock):
    receipt = enrolled.delete_subject("people", "Ada")
    assert (receipt.subjects, receipt.media, receipt.photos, receipt.at) == (1, 2, 0, clock.now)
    assert "Ada" not in {m.subject for m in enrolled.search("people", MODEL, faces.vector("Ada")).matches}
    with pytest.raises(errors.SubjectNotFound):
        enrolled.subject("people", "Ada")
    subject, created = enrolled.put_subject("people", "Ada")
    assert created
    assert subject.media == ()
    whole = enrolled.delete_collection("people")
    assert (whole.subjects, whole.media, whole.photos) == (3, None, None)
    with pytest.raises(errors.CollectionNotFound):
        enrolled.search("people", MODEL, faces.vector("Ada"))
    made, created = enrolled.put_collection("people", MODEL, DIMENSION)
    assert created
    assert made.subjects == 0
    assert enrolled.search("people", MODEL, faces.vector("Ada")).matches == []


def test_photos_are_kept_only_when_asked(gallery, faces):
    gallery.put_collection("album", MODEL, DIMENSION, Policy(keep_photos=True))
    medium = faces.medium("Ada", "m", photo=b"JPEG of Ada")
    for collection in ("people", "album"):
        gallery.add_media(collection, "Ada", MODEL, [medium], create=True)
    assert gallery.photo("album", "Ada", "m") == b"JPEG of Ada"
    with pytest.raises(errors.MediumNotFound):
        gallery.photo("people", "Ada", "m")
    assert not gallery.subject("people", "Ada").media[0].photo
    gallery.add_media("album", "Ada", MODEL, [faces.medium("Ada", "m")])
    with pytest.raises(errors.MediumNotFound):
        gallery.photo("album", "Ada", "m")
    gallery.add_media("album", "Ada", MODEL, [medium, faces.medium("Ada", "n", photo=b"another")])
    gallery.delete_medium("album", "Ada", "m")
    assert gallery.photo("album", "Ada", "n") == b"another"
    assert gallery.delete_subject("album", "Ada").photos == 1
    with pytest.raises(errors.SubjectNotFound):
        gallery.photo("album", "Ada", "n")


def test_a_subject_is_forgotten_when_its_time_is_over(gallery, faces, clock):
    gallery.put_collection("guests", MODEL, DIMENSION, Policy(ttl=100))
    for name in ("Ada", "Alan"):
        gallery.add_media("guests", name, MODEL, [faces.medium(name, "m")], create=True)
    gallery.put_subject("guests", "Alan", ttl=1000)
    gallery.search("guests", MODEL, faces.vector("Ada"))
    clock.now += 99
    gallery.put_subject("guests", "Ada")  # a change begins its time anew
    clock.now += 99
    assert gallery.subject("guests", "Ada").expires == clock.now + 1
    clock.now += 1
    with pytest.raises(errors.SubjectNotFound):
        gallery.subject("guests", "Ada")
    assert [m.subject for m in gallery.search("guests", MODEL, faces.vector("Ada")).matches] == ["Alan"]
    assert [s.id for s in gallery.subjects("guests").items] == ["Alan"]
    assert gallery.put_subject("guests", "Ada")[1], "it is a new one"
    clock.now += 2000
    assert len(purge(gallery)) == 2
    assert gallery.collection("guests").subjects == 0
    assert len(purge(gallery)) == 0


def test_another_process_sees_every_change_at_once(open_store, faces):
    here, there = (Gallery(open_store(), Vault([MASTER])) for _ in range(2))
    here.put_collection("people", MODEL, DIMENSION)
    for step in range(9):
        here.add_media("people", f"p{step}", MODEL, [faces.medium(f"p{step}", "m")], create=True)
        assert there.search("people", MODEL, faces.vector(f"p{step}")).matches[0].subject == f"p{step}"
        if step % 3 == 0:
            there.delete_subject("people", f"p{step}")
            assert f"p{step}" not in {
                m.subject for m in here.search("people", MODEL, faces.vector(f"p{step}"), 50).matches
            }


def test_a_process_far_behind_reads_everything_anew(open_store, faces, monkeypatch):
    monkeypatch.setattr("service.gallery.stores.sqlite.REMEMBERED", 3)
    monkeypatch.setattr("service.gallery.stores.redis.REMEMBERED", 3)
    here, there = (Gallery(open_store(), Vault([MASTER])) for _ in range(2))
    here.put_collection("people", MODEL, DIMENSION)
    for i in range(12):
        here.add_media("people", f"p{i}", MODEL, [faces.medium(f"p{i}", "m")], create=True)
    assert there.warm("people") == 12
    for i in range(8):
        here.delete_subject("people", f"p{i}")
    assert there.warm("people") == 4
    assert {m.subject for m in there.search("people", MODEL, faces.vector("p1"), 12).matches} == {
        "p8",
        "p9",
        "p10",
        "p11",
    }


def test_search_is_exact_among_many(gallery):
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(120, DIMENSION)).astype(np.float32)
    for i, row in enumerate(rows):
        gallery.add_media("people", f"p{i}", MODEL, [NewMedium("m", row[None], np.ones(1, np.float32))], create=True)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for probe in rng.normal(size=(5, DIMENSION)).astype(np.float32):
        exact = units @ (probe / np.linalg.norm(probe))
        matches = gallery.search("people", MODEL, probe, 5).matches
        assert [m.subject for m in matches] == [f"p{i}" for i in np.argsort(-exact)[:5]]
        np.testing.assert_allclose([m.similarity for m in matches], np.sort(exact)[::-1][:5], atol=1e-6)


@pytest.mark.parametrize("most_scores", [template_indexes.MOST_SCORES, 100])
def test_a_search_for_several_finds_what_a_search_for_each_finds(enrolled, faces, monkeypatch, most_scores):
    monkeypatch.setattr(template_indexes, "MOST_SCORES", most_scores)
    for number in range(40):
        enrolled.add_media("people", f"p{number}", MODEL, [faces.medium(f"p{number}", "m")], create=True)
    probes = [faces.vector(name) for name in ("Grace", "nobody", "Ada", "p7", "p31")]
    together = enrolled.search_all("people", MODEL, probes, 4)
    alone = [enrolled.search("people", MODEL, probe, 4) for probe in probes]
    assert [[match.subject for match in result.matches] for result in together] == [
        [match.subject for match in result.matches] for result in alone
    ]
    assert [result.matches[0].subject for result in together][::2] == ["Grace", "Ada", "p31"]
    assert {result.gallery_size for result in together} == {43}
    assert enrolled.search_all("people", MODEL, [], 4) == []


def test_the_wrong_master_key_opens_nothing(open_store):
    Gallery(open_store(), Vault([MASTER])).put_collection("people", MODEL, DIMENSION)
    with pytest.raises(VaultLocked):
        Gallery(open_store(), Vault([b"x" * 32]))


def test_the_master_key_is_changed_without_a_pause(open_store, faces):
    old, new = MASTER, b"n" * 32
    first = Gallery(open_store(), Vault([old]))
    for name in ("one", "two"):
        first.put_collection(name, MODEL, DIMENSION)
        first.add_media(name, "Ada", MODEL, [faces.medium("Ada", "m")], create=True)
    both = Gallery(open_store(), Vault([new, old]))
    assert both.search("one", MODEL, faces.vector("Ada")).matches[0].subject == "Ada"
    assert rewrap(both.encrypted) == 3
    assert rewrap(both.encrypted) == 0
    after = Gallery(open_store(), Vault([new]))
    assert after.search("two", MODEL, faces.vector("Ada")).matches[0].subject == "Ada"
    with pytest.raises(VaultLocked):
        Gallery(open_store(), Vault([old]))


def test_a_collection_is_sealed_anew_with_all_it_holds(enrolled, faces, store, clock):
    enrolled.put_collection("album", MODEL, DIMENSION, Policy(keep_photos=True, mode="median"))
    enrolled.add_media("album", "Ada", MODEL, [faces.medium("Ada", "m", photo=b"photo")], create=True)
    enrolled.put_subject("album", "Ada", {"badge": 1}, ttl=50)
    before = enrolled.subject("album", "Ada")
    keys = {row.key for row in store.all_collections()}
    clock.now += 10
    rotate(enrolled.encrypted, "album")
    rotate(enrolled.encrypted, "people")
    assert not keys & {row.key for row in store.all_collections()}
    assert len(store.all_collections()) == 2
    after = enrolled.subject("album", "Ada")
    assert (after.metadata, after.expires, after.updated) == (before.metadata, before.expires, before.updated)
    np.testing.assert_allclose(after.template, before.template, atol=1e-6)
    assert enrolled.photo("album", "Ada", "m") == b"photo"
    assert enrolled.collection("album").policy == Policy(keep_photos=True, mode="median")
    assert enrolled.search("people", MODEL, faces.vector("Grace")).matches[0].subject == "Grace"
    with pytest.raises(errors.CollectionNotFound):
        rotate(enrolled.encrypted, "none")


def test_what_a_crash_left_staged_is_purged_after_a_day(gallery, store, clock):
    clock.now += 5 * STAGED_SECONDS
    meta = gallery.encrypted.require("people").meta
    gallery.encrypted.create(replace(meta, staged=clock.now), staged=True)
    assert [c.name for c in gallery.collections().items] == ["people"]
    purge(gallery)
    assert len(store.all_collections()) == 2
    clock.now += 2 * STAGED_SECONDS
    purge(gallery)
    assert [c.name for c in gallery.collections().items] == ["people"]
    assert len(store.all_collections()) == 1
