"""Whole collections that somebody deletes from the store, or puts back, without the master key; both stores."""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from service.config import Settings
from service.crypto.vault import Vault, VaultLocked
from service.gallery import catalog
from service.gallery.errors import CollectionDamaged, CollectionExists, CollectionNotFound
from service.gallery.gallery import Gallery
from service.gallery.maintenance import ClockWatch, maintain
from service.gallery.resources import Resources
from service.gallery.root_key import ROOT_KEY
from service.gallery.stores.redis import RedisStore
from service.gallery.stores.sqlite import SqliteStore
from service.gallery.stores.store import CollectionRow, Store
from service.gallery.transfer import export, import_
from service.gallery.upkeep import rewrap, rotate
from service.ops.metrics import Metrics
from tests.service.gallery.people import DIMENSION, MASTER, MODEL, Clock, Faces
from tests.service.gallery.served import people_served

Started = Callable[[], Gallery]
CATALOG = "vault/collections/"
LABEL = b"vault/root with a catalog"
LABEL_OF_EARLIER_VERSIONS = b"vault/root"


@pytest.fixture
def start(open_store: Callable[[], Store], clock: Clock, faces: Faces) -> Started:
    """Opens a gallery of the collections 'staff' and 'guests', as a new process would."""

    def started() -> Gallery:
        return Gallery(open_store(), Vault([MASTER]), clock)

    gallery = started()
    for name in ("staff", "guests"):
        gallery.put_collection(name, MODEL, DIMENSION)
        gallery.add_media(name, "ada", MODEL, [faces.medium("ada", "m")], create=True)
    return started


def row_of(gallery: Gallery, name: str) -> CollectionRow:
    return gallery.encrypted.require(name).row


def names(gallery: Gallery) -> list[str]:
    """The collections as they are listed, in parts of two."""
    page = gallery.collections(None, 2)
    found = [collection.name for collection in page.items]
    while page.cursor:
        page = gallery.collections(page.cursor, 2)
        found += [collection.name for collection in page.items]
    return sorted(found)


def test_a_collection_that_somebody_deleted_is_missed(start: Started, faces: Faces, open_store: Callable[[], Store]):
    running = start()
    file = BytesIO()
    export(running, "staff", "a passphrase", file)
    open_store().delete_collection(row_of(running, "staff").id)  # as whoever may write to the store can
    for gallery in (running, start()):
        for call in (
            lambda g: g.collection("staff"),
            lambda g: g.put_collection("staff", MODEL, DIMENSION),
            lambda g: g.add_media("staff", "ada", MODEL, [faces.medium("ada", "m")], create=True),
            lambda g: g.search("staff", MODEL, faces.vector("ada")),
            lambda g: import_(g, BytesIO(file.getvalue()), "a passphrase"),
        ):
            with pytest.raises(CollectionDamaged, match="it was deleted"):
                call(gallery)
        page = gallery.collections()
        assert ([c.name for c in page.items], page.damaged) == (["guests"], ["staff"])
        assert gallery.encrypted.damaged() == ["staff"]
        assert gallery.search("guests", MODEL, faces.vector("ada")).matches[0].subject == "ada"
    assert running.delete_collection("staff").subjects == 0  # whoever looks after the service takes note of it
    assert running.encrypted.damaged() == []
    with pytest.raises(CollectionNotFound):
        running.delete_collection("staff")
    assert import_(running, BytesIO(file.getvalue()), "a passphrase").subjects == 1
    assert names(start()) == ["guests", "staff"]


def test_a_collection_that_was_put_back_is_not_taken(start: Started, faces: Faces, open_store: Callable[[], Store]):
    running = start()
    old = row_of(running, "staff")
    running.delete_collection("staff")
    assert open_store().create(old)
    for gallery in (running, start()):
        for call in (
            lambda g: g.collection("staff"),
            lambda g: g.subject("staff", "ada"),
            lambda g: g.put_collection("staff", MODEL, DIMENSION),
        ):
            with pytest.raises(CollectionDamaged, match="put back"):
                call(gallery)
        page = gallery.collections()
        assert ([c.name for c in page.items], page.damaged) == (["guests"], ["staff"])
        assert gallery.encrypted.damaged() == ["staff"]
    running.delete_collection("staff")
    assert running.put_collection("staff", MODEL, DIMENSION)[1]
    assert running.encrypted.damaged() == []


def test_an_older_collection_does_not_take_the_place_of_one_of_its_name(
    start: Started, open_store: Callable[[], Store]
):
    running, store = start(), open_store()
    old = row_of(running, "staff")
    running.delete_collection("staff")
    running.put_collection("staff", MODEL, DIMENSION)
    store.delete_collection(row_of(running, "staff").id)
    assert store.create(old)
    with pytest.raises(CollectionDamaged):
        start().collection("staff")


def test_another_process_notices_what_was_put_back_after_a_while(
    start: Started, open_store: Callable[[], Store], monkeypatch: pytest.MonkeyPatch
):
    here, there = start(), start()
    old = row_of(there, "staff")
    here.delete_collection("staff")
    assert open_store().create(old)
    monkeypatch.setattr(catalog, "REMEMBERED_SECONDS", 0.0)
    with pytest.raises(CollectionDamaged):
        there.subject("staff", "ada")


@pytest.mark.parametrize("forge", ["deleted", "made up", "an older one", "of another gallery"])
def test_whoever_writes_to_the_store_makes_no_catalog(start: Started, open_store: Callable[[], Store], forge: str):
    store = open_store()
    [(name, older)] = store.records(CATALOG).items()
    gallery = start()
    gallery.put_collection("visitors", MODEL, DIMENSION)
    if forge == "deleted":
        store.delete_record(name)
    elif forge == "made up":
        store.put_record(name, b"\x80")
    elif forge == "an older one":
        store.put_record(name, older)
        with pytest.raises(CollectionDamaged):
            start().collection("visitors")
        return
    else:
        ciphertext = gallery.encrypted.encrypt(
            b"\x80", b"record", name.encode()
        )  # under the right key, for another place
        store.put_record(name, ciphertext)
    for call in (lambda: start().collections(), lambda: start().collection("staff"), lambda: start().collection("new")):
        with pytest.raises(VaultLocked):
            call()


def test_without_its_root_key_a_gallery_is_not_begun_anew(start: Started, open_store: Callable[[], Store]):
    store = open_store()
    for name in store.records("vault/"):
        store.delete_record(name)
    with pytest.raises(VaultLocked, match="is missing"):
        start()
    assert store.records("vault/") == {}


def test_a_running_process_puts_its_root_key_back(start: Started, open_store: Callable[[], Store]):
    running, store = start(), open_store()
    assert store.delete_record(ROOT_KEY)
    with pytest.raises(CollectionNotFound):
        running.collection("visitors")
    assert start().subject("staff", "ada").id == "ada"
    assert start().encrypted.damaged() == []
    for name in store.records("vault/"):
        store.delete_record(name)
    with pytest.raises(CollectionNotFound):
        running.collection("visitors")
    assert start().encrypted.damaged() == ["guests", "staff"], "whoever deletes the catalog, too, hides nothing"


def test_the_gallery_of_an_earlier_version_gets_a_catalog(start: Started, open_store: Callable[[], Store]):
    store, vault = open_store(), Vault([MASTER])
    wrapped = store.record(ROOT_KEY)
    assert wrapped is not None
    store.put_record(ROOT_KEY, vault.wrap(vault.unwrap(wrapped, LABEL), LABEL_OF_EARLIER_VERSIONS))
    for name in store.records(CATALOG):
        store.delete_record(name)
    first, second = start(), start()
    assert names(first) == names(second) == ["guests", "staff"]
    assert first.encrypted.damaged() == []
    store.delete_collection(row_of(first, "staff").id)
    for name in store.records(CATALOG):
        store.delete_record(name)
    with pytest.raises(VaultLocked, match="is missing"):  # no second time: the root key says that there is a catalog
        start().collection("staff")


def test_everything_that_the_service_does_itself_keeps_the_catalog(
    start: Started, clock: Clock, open_store: Callable[[], Store]
):
    gallery = start()
    file = BytesIO()
    export(gallery, "staff", "a passphrase", file)
    import_(gallery, BytesIO(file.getvalue()), "a passphrase", "copy")
    with pytest.raises(CollectionExists):
        import_(gallery, BytesIO(file.getvalue()), "a passphrase", "guests")
    rotate(gallery.encrypted, "staff")
    gallery.delete_collection("guests")
    new = Gallery(open_store(), Vault([b"n" * 32, MASTER]), clock)
    assert rewrap(new.encrypted) > 0
    only_new = Gallery(open_store(), Vault([b"n" * 32]), clock)
    assert names(only_new) == ["copy", "staff"]
    assert only_new.encrypted.damaged() == []
    assert only_new.subject("staff", "ada").id == "ada"


def test_many_processes_at_once_lose_nothing(start: Started):
    def change(number: int) -> None:
        gallery = start()
        for step in range(6):
            gallery.put_collection(f"c{number}-{step}", MODEL, DIMENSION)
            if step % 2:
                gallery.delete_collection(f"c{number}-{step}")

    threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gallery = start()
    made = [f"c{number}-{step}" for number in range(4) for step in (0, 2, 4)]
    assert names(gallery) == sorted([*made, "guests", "staff"])
    assert gallery.encrypted.damaged() == []


def make_and_delete_for_ever(url: str) -> None:
    store = RedisStore(url) if "://" in url else SqliteStore(Path(url))
    gallery = Gallery(store, Vault([MASTER]))
    while True:
        name = os.urandom(4).hex()
        gallery.put_collection(name, MODEL, DIMENSION)
        rotate(gallery.encrypted, name)
        gallery.delete_collection(name)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_no_difference(start: Started, request: pytest.FixtureRequest, tmp_path: Path):
    path = tmp_path / "gallery.db"
    url = str(path) if path.exists() else request.getfixturevalue("shared_redis").url
    for number in range(6):
        child = multiprocessing.get_context("spawn").Process(target=make_and_delete_for_ever, args=(url,))
        child.start()
        time.sleep(0.9 + 0.07 * number)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        assert start().encrypted.damaged() == []
    assert {"guests", "staff"} <= set(names(start()))


def test_maintenance_tells_of_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    resources = Resources(Settings(data_dir=tmp_path))
    gallery = resources.gallery
    gallery.put_collection("staff", MODEL, DIMENSION)
    metrics = Metrics()
    watch = ClockWatch(gallery.encrypted.now)
    maintain(resources, metrics, watch, lambda _: None)
    assert damaged_in(metrics) == 0
    gallery.encrypted.store.delete_collection(row_of(gallery, "staff").id)
    with caplog.at_level(logging.ERROR):
        maintain(resources, metrics, watch, lambda _: None)
    assert damaged_in(metrics) == 1
    assert "by somebody else than this service" in caplog.text
    assert "staff" not in caplog.text
    resources.close()


def damaged_in(metrics: Metrics) -> float:
    """What the alert FaceCollectionDamaged looks at."""
    [line] = [line for line in metrics.render().decode().splitlines() if line.startswith("face_damaged_collections ")]
    return float(line.split()[1])


def test_callers_are_told(tmp_path: Path):
    with people_served(Settings(data_dir=tmp_path)) as served:
        assert served.client.put("/v1/collections/staff").status_code == 201
        store = SqliteStore(tmp_path / "gallery.db")
        [row] = store.all_collections()
        store.delete_collection(row.id)
        store.close()
        listing = served.client.get("/v1/collections").json()
        assert (listing["collections"], listing["damaged"]) == ([], ["staff"])
        for answer in (served.client.get("/v1/collections/staff"), served.client.put("/v1/collections/staff")):
            assert (answer.status_code, answer.json()["code"]) == (500, "collection_damaged")
        assert served.client.delete("/v1/collections/staff").status_code == 200
        assert served.client.put("/v1/collections/staff").status_code == 201
