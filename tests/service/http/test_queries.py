"""Query parameters: each is known to its route and given once, or the request is refused and does nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from service.config import Settings
from service.http.app import ROUTES
from service.http.queries import query_names
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served, is_problem

STAFF = "/v1/collections/staff"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path_factory.mktemp("queries"))) as running:
        running.client.put(STAFF).raise_for_status()
        yield running


@pytest.mark.parametrize(("method", "path"), sorted(query_names(module.router for module in ROUTES)))
def test_every_call_refuses_a_parameter_that_it_does_not_know(served: Served, method: str, path: str) -> None:
    if not path.startswith("/v1/"):
        return
    url = path.replace("{collection}", "staff").replace("{", "").replace("}", "")
    answer = is_problem(served.client.request(method, url, params={"dry_run": "true"}), 422, "invalid_request")
    assert answer["detail"].startswith("dry_run: this call has no such query parameter; it takes ")
    assert answer["errors"][0]["loc"] == ["query", "dry_run"]
    assert served.client.get(STAFF).status_code == 200, "nothing was done"


def test_what_belongs_into_the_body_is_not_lost_in_the_query(served: Served) -> None:
    """The collection would have been made without keeping photos, and with no word about it."""
    is_problem(served.client.put("/v1/collections/guests?keep_photos=true"), 422, "invalid_request")
    is_problem(served.client.get("/v1/collections/guests"), 404, "collection_not_found")


@pytest.mark.parametrize("path", ["/v1/faces?max_faces=1&max_faces=5", STAFF + "/search?fpir=0.01&fpir=0.001"])
def test_a_parameter_is_given_once(served: Served, path: str) -> None:
    name = path.partition("?")[2].partition("=")[0]
    answer = is_problem(served.client.post(path, content=photo(1)), 422, "invalid_request")
    assert answer["detail"] == f"{name}: this query parameter is given 2 times"


def test_monitoring_and_pages_ask_as_they_like(served: Served) -> None:
    for path in ("/livez?probe=1", "/readyz?x=1&x=2", "/metrics?name[]=a", "/?utm_source=mail", "/static/app.js?v=2"):
        assert served.client.get(path).status_code == 200, path
