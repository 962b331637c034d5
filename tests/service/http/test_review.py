"""A whole collection looked through for conflicts by a job, which keeps no names and forgets with the collection."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from service.client.client import Client, FaceError
from service.config import Settings
from service.gallery.resources import open_keys
from service.gallery.review import MOST_PARTS, PART, parts_of
from service.schemas.conflicts import CollectionConflicts
from service.schemas.jobs import JobResponse
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, is_problem

ADA, BOB, EVE = 1, 2, 3
CROWD = range(100, 100 + PART + 20)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path_factory.mktemp("review"))) as running:
        yield running


@pytest.fixture(scope="module")
def faces(served: Served) -> Iterator[Client]:
    """A collection of two parts: ada is in it twice, and one of bob's photos shows eve."""
    with Client(served.url) as client:
        client.put_collection("staff")
        for number in CROWD:
            client.enrol("staff", f"p{number}", photo(number), create=True, on_conflict="ignore")
        for name in ("ada", "countess"):
            client.enrol("staff", name, [photo(ADA, take=len(name)), photo(ADA, take=20 + len(name))], create=True)
        client.enrol("staff", "bob", [*(photo(BOB, take=take) for take in range(1, 6)), photo(EVE)], create=True)
        yield client


def found(job: JobResponse) -> tuple[set[frozenset[str]], set[str], int]:
    """Return the pairs, the subjects with outliers and how many subjects were looked at."""
    parts = [each.conflicts for each in job.results]
    assert all(isinstance(part, CollectionConflicts) for part in parts), job.results
    pairs = {frozenset(pair.subjects) for part in parts if part for pair in part.conflicts}
    outliers = {each.subject for part in parts if part for each in part.outliers}
    return pairs, outliers, sum(part.checked for part in parts if part)


def by_parts(client: Client) -> tuple[set[frozenset[str]], set[str], int]:
    """Return the same, as GET answers it."""
    pairs, outliers, checked, cursor = set[frozenset[str]](), set[str](), 0, None
    while True:
        part = client.conflicts("staff", cursor=cursor)
        pairs |= {frozenset(pair.subjects) for pair in part.conflicts}
        outliers |= {each.subject for each in part.outliers}
        checked += part.checked
        cursor = part.cursor
        if cursor is None:
            return pairs, outliers, checked


def test_a_job_finds_what_the_parts_find(faces: Client) -> None:
    job = faces.wait_for_job(faces.submit_review("staff").id, 60)
    assert (job.total, job.done, job.failed) == (2, 2, 0)
    pairs, outliers, checked = found(job)
    assert frozenset({"ada", "countess"}) in pairs
    assert "bob" in outliers
    assert checked == len(CROWD) + 3
    assert (pairs, outliers, checked) == by_parts(faces)
    faces.delete_job(job.id)


def test_who_is_deleted_meanwhile_is_not_in_the_answer(faces: Client) -> None:
    job = faces.submit_review("staff").id
    assert frozenset({"ada", "countess"}) in found(faces.wait_for_job(job, 60))[0]
    faces.delete_subject("staff", "countess")
    pairs, outliers, _ = found(faces.wait_for_job(job, 60))
    assert not any("countess" in pair for pair in pairs)
    faces.rename_subject("staff", "bob", "robert")
    assert not found(faces.wait_for_job(job, 60))[1] & {"bob", "robert"}, "the new name was not looked at"
    assert "bob" in outliers


def test_with_the_collection_nothing_is_left(served: Served) -> None:
    with Client(served.url) as client:
        client.put_collection("brief")
        for name in ("ada", "countess"):
            client.enrol("brief", name, photo(ADA, take=len(name)), create=True)
        job = client.submit_review("brief").id
        assert found(client.wait_for_job(job, 60))[0] == {frozenset({"ada", "countess"})}
        client.delete_collection("brief")
        (result,) = client.wait_for_job(job, 60).results
        assert result.conflicts is None
        assert result.error is not None
        assert result.error.code == "collection_not_found"
        client.put_collection("brief")
        assert client.wait_for_job(job, 60).results[0].conflicts is None
        with pytest.raises(FaceError) as refusal:
            client.submit_review("nowhere")
        assert refusal.value.code == "collection_not_found"


def test_an_empty_collection(served: Served) -> None:
    with Client(served.url) as client:
        client.put_collection("empty")
        assert found(client.wait_for_job(client.submit_review("empty").id, 60)) == (set(), set(), 0)


def test_the_job_is_its_own_keys_whatever_that_may_do(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api_keys="on")
    with people_served(settings) as running, open_keys(settings) as keys:
        admin, enrol, other = (
            {"X-API-Key": keys.create("test", (role,), collections=scope)[1]}
            for role, scope in (("admin", ()), ("enrol", ("staff",)), ("enrol", ("guests",)))
        )
        running.client.put("/v1/collections/staff", headers=admin).raise_for_status()
        where = running.client.post("/v1/collections/staff/conflicts", headers=enrol).headers["Location"]
        is_problem(running.client.post("/v1/collections/staff/conflicts", headers=other), 404, "collection_not_found")
        end = time.monotonic() + 60
        while running.client.get(where, headers=enrol).json()["status"] != "done":
            assert time.monotonic() < end
        for stranger in (admin, other):
            is_problem(running.client.get(where, headers=stranger), 404, "job_not_found")
            is_problem(running.client.delete(where, headers=stranger), 404, "job_not_found")
        assert running.client.delete(where, headers=enrol).status_code == 204


def test_a_model_without_calibration(tmp_path: Path) -> None:
    with people_served(Settings(data_dir=tmp_path), calibrated=False) as running:
        running.client.put("/v1/collections/staff").raise_for_status()
        is_problem(running.client.post("/v1/collections/staff/conflicts"), 503, "not_calibrated")


@pytest.mark.parametrize("subjects", [0, 1, PART, PART + 1, 12_345, 10_000_000])
def test_parts_cover_a_collection_once(subjects: int) -> None:
    parts = parts_of("staff", subjects)
    assert len(parts) == max(1, min(MOST_PARTS, -(-subjects // PART)))
    assert (parts[0].after, parts[-1].last) == (b"", b"")
    assert all(before.last == after.after for before, after in pairwise(parts))
    bounds = [part.last for part in parts[:-1]]
    assert sorted(set(bounds)) == bounds
