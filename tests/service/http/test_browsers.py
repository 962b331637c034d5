"""Pages of other sites, and proxies, in front of a server that asks for no key."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.config import Settings
from tests.service.http.raw import connect, head, status
from tests.service.serving import Served, serve

FOREIGN = {
    "another host's name": {"Host": "evil.example:8000"},
    "a name that begins like this machine's": {"Host": "localhost.evil.example"},
    "another site's page": {"Origin": "https://evil.example"},
    "a file or a sandbox": {"Origin": "null"},
    "a page of another local port": {"Origin": "http://127.0.0.1:1"},
    "a page of this machine by another name": {"Origin": "http://localhost"},
    "an image in another site's page": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    "an image in a page of another local port": {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"},
    "a proxy": {"X-Forwarded-For": "203.0.113.9"},
    "a proxy that names the host": {"X-Forwarded-Host": "faces.example"},
    "a proxy by the standard": {"Forwarded": "for=203.0.113.9"},
    "a proxy like nginx": {"X-Real-IP": "203.0.113.9"},
}
ROUTES = [
    ("POST", "/v1/faces"),
    ("POST", "/v1/jobs"),
    ("GET", "/v1/jobs/x"),
    ("POST", "/v1/compare"),
    ("GET", "/v1/collections"),
    ("GET", "/v1/collections/c/subjects/s/media/m/photo"),
    ("GET", "/v1/keys"),
    ("GET", "/v1/model"),
    ("GET", "/metrics"),
    ("GET", "/livez"),
    ("GET", "/nowhere"),
]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(Settings(data_dir=tmp_path_factory.mktemp("local"), cors_origins="https://own.example")) as running:
        yield running


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_nothing_is_served_to(local: Served, headers: dict[str, str]) -> None:
    for method, path in ROUTES:
        answer = local.client.request(method, path, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_host"), path


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "OWN", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"},
        {"Origin": "https://own.example", "Sec-Fetch-Site": "cross-site"},
        {"Host": "localhost:9000"},
        {"Host": "[::1]:8000"},
    ],
)
def test_own_pages_and_programs_are_served(local: Served, headers: dict[str, str]) -> None:
    sent = {name: local.url if value == "OWN" else value for name, value in headers.items()}
    assert local.client.get("/v1/collections", headers=sent).status_code == 200


def test_a_link_on_another_site_opens_a_page_and_no_data(local: Served) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in ("/", "/people", "/docs"):
        assert local.client.get(path, headers=link).status_code == 200
    for path in ("/v1/collections", "/v1/collections/c/subjects/s/media/m/photo", "/metrics"):
        assert local.client.get(path, headers=link).status_code == 403
    framed = link | {"Sec-Fetch-Dest": "iframe"}
    assert local.client.get("/", headers=framed).status_code == 403


def test_every_answer_keeps_other_sites_out(local: Served) -> None:
    for method, path in (*ROUTES, ("GET", "/"), ("GET", "/static/style.css")):
        headers = local.client.request(method, path).headers
        assert headers["cross-origin-resource-policy"] == "same-origin", path
        assert headers["cross-origin-opener-policy"] == "same-origin", path
        assert headers["x-content-type-options"] == "nosniff", path
        assert "frame-ancestors 'none'" in headers["content-security-policy"], path


def test_two_host_headers_are_refused(local: Served) -> None:
    with connect(local.url) as connection:
        connection.sendall(head("GET /v1/collections", host="evil.example"))  # beside the Host: 127.0.0.1 of head()
        assert status(connection) in (400, 403)


def test_without_keys_outside_loopback_pages_of_other_sites_are_refused_too(tmp_path: Path) -> None:
    with serve(Settings(data_dir=tmp_path, host="0.0.0.0", api_keys="off")) as served:
        named = {"Host": "faces.lan"}
        assert served.client.get("/v1/collections", headers=named).status_code == 200
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert served.client.get("/v1/collections", headers=named | headers).status_code == 403


def test_with_keys_a_proxy_may_stand_before_it(tmp_path: Path) -> None:
    with serve(Settings(data_dir=tmp_path, api_keys="on")) as served:
        headers = {"Host": "faces.example", "X-Forwarded-For": "203.0.113.9", "Origin": "https://faces.example"}
        assert served.client.get("/v1/collections", headers=headers).status_code == 401
        assert served.client.get("/livez", headers=headers).status_code == 200
