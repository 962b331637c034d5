"""The description of the API, as generators of clients read it."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.config import Settings
from service.http.auth import ENDPOINTS
from tests.service.gallery.served import people_served
from tests.service.serving import Served, serve


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serve(Settings(data_dir=tmp_path_factory.mktemp("openapi"))) as running:
        yield running


@pytest.fixture(scope="module")
def described(served: Served) -> dict:
    return served.client.get("/openapi.json").json()


def operations(described: dict) -> Iterator[tuple[str, str, dict]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_operations_have_short_names_of_their_own(described: dict) -> None:
    names = [operation["operationId"] for *_, operation in operations(described)]
    assert len(names) == len(set(names))
    assert all(name.isidentifier() and "v1" not in name for name in names)


def test_what_needs_a_key_says_so(described: dict) -> None:
    assert described["components"]["securitySchemes"]["ApiKey"]["scheme"] == "bearer"
    needs = {(method, path): role for method, path, role, _ in ENDPOINTS}
    for method, path, operation in operations(described):
        if needs[method, path] == "nothing":
            assert "security" not in operation
        else:
            assert operation["security"] == [{"ApiKey": []}]
            assert {"401", "403", "429"} <= set(operation["responses"])
            assert needs[method, path] in operation["description"]


def test_every_error_is_a_problem_document(described: dict) -> None:
    for *_, operation in operations(described):
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == ["application/problem+json"], operation["operationId"]
    assert "HTTPValidationError" not in described["components"]["schemas"]


def test_every_operation_parameter_and_field_is_described(described: dict) -> None:
    schemas = described["components"]["schemas"]
    bare = []
    for method, path, operation in operations(described):
        assert operation["description"].startswith(operation["summary"]), (method, path)
        bare += [(method, path, each["name"]) for each in operation.get("parameters", []) if "description" not in each]
    for name, schema in schemas.items():
        bare += [
            (name, key) for key, each in schema.get("properties", {}).items() if not says_what_it_is(each, schemas)
        ]
    assert bare == []


def says_what_it_is(schema: dict, schemas: dict) -> bool:
    """Return whether a schema has a description, or what it refers to, lists or offers as a choice has one."""
    inner = [
        *schema.get("anyOf", []),
        schema.get("items", {}),
        schemas.get(schema.get("$ref", "").rpartition("/")[2], {}),
    ]
    return "description" in schema or any(says_what_it_is(each, schemas) for each in inner if each)


def test_bodies_have_names_and_each_option_stands_once(described: dict) -> None:
    for *_, operation in operations(described):
        query = {each["name"] for each in operation.get("parameters", []) if each["in"] == "query"}
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            if kind in ("application/json", "multipart/form-data"):
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                assert name or "anyOf" in content["schema"], (operation["operationId"], kind)
                properties = described["components"]["schemas"].get(name, {}).get("properties", {})
                assert not query & set(properties), operation["operationId"]


def test_the_description_works_behind_a_path_prefix(tmp_path: Path) -> None:
    with serve(Settings(data_dir=tmp_path, root_path="/faces")) as served:
        for path in ("/openapi.json", "/faces/openapi.json"):  # a proxy strips the prefix, or keeps it
            assert served.client.get(path).json()["servers"] == [{"url": "/faces"}]
        for path in ("/docs", "/faces/docs", "/faces/docs/static/swagger-ui.css", "/faces/livez", "/livez"):
            assert served.client.get(path).status_code == 200, path
        page = served.client.get("/faces/docs").text
        assert 'href="/' not in page
        assert 'src="/' not in page


def test_parameters_of_paths_have_rules_and_examples_that_keep_them(described: dict) -> None:
    for *_, operation in operations(described):
        for parameter in operation.get("parameters", []):
            if parameter["in"] == "path":
                assert re.search(parameter["schema"]["pattern"], parameter["example"]), parameter["name"]
    rule = re.compile(described["paths"]["/v1/collections/{collection}"]["get"]["parameters"][0]["schema"]["pattern"])
    assert rule.search("Zoë O'Neil, 3")
    assert not any(rule.search(name) for name in ("", "a/b", "a\nb", "a\0"))


def test_every_json_body_has_an_example(described: dict) -> None:
    for *_, operation in operations(described):
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        assert content is None or "example" in content, f"{operation['operationId']}: service/http/openapi_details.py"


def test_examples_work_and_every_answer_is_one_that_is_described(tmp_path: Path) -> None:
    """All operations, first on an empty gallery, then on one with people, then once more; deletions at the end."""
    with people_served(Settings(data_dir=tmp_path)) as served:
        client = served.client
        every = list(operations(client.get("/openapi.json").json()))
        by_method = {name: [each for each in every if each[0] == name] for name in ("GET", "PUT", "POST", "DELETE")}
        additions = [each for each in by_method["POST"] if not each[1].endswith("/rename")]
        renaming = [each for each in by_method["POST"] if each not in additions]
        deletions = sorted(by_method["DELETE"], key=lambda each: -len(each[1]))
        story = [*by_method["GET"], *by_method["PUT"], *additions, *by_method["GET"], *renaming, *deletions]
        seen: dict[str, set[int]] = {}
        for name in ("", "guests", "staff"):
            if name:
                client.put(f"/v1/collections/{name}").raise_for_status()
            for method, path, operation in story:
                answer = ask(client, method, path, operation)
                check(answer, operation)
                seen.setdefault(operation["operationId"], set()).add(answer.status_code)
        assert {200, 404} <= seen["get_collection"] & seen["get_subject"]
        assert {201, 409} <= seen["put_collection"]
        assert 201 in seen["put_subject"]
        assert {200, 404} <= seen["merge_collections"]


def ask(client: httpx.Client, method: str, path: str, operation: dict) -> httpx.Response:
    names = {each["name"]: each["example"] for each in operation.get("parameters", []) if each["in"] == "path"}
    content = operation.get("requestBody", {}).get("content", {})
    json = content.get("application/json", {}).get("example")
    headers = {"Face-Passphrase": "correct horse battery"} if path.endswith("/import") else {}
    query = {"create": True} if operation["operationId"] == "enrol" else {}
    return client.request(method, path.format(**names), json=json, headers=headers, params=query)


def check(answer: httpx.Response, operation: dict) -> None:
    where = operation["operationId"], answer.status_code, answer.text[:300]
    assert answer.status_code not in (400, 415), where
    assert answer.status_code < 500, where
    response = operation["responses"][str(answer.status_code)]
    kind = answer.headers.get("content-type", "").partition(";")[0]
    kinds = set(response.get("content", {}))
    assert (kind in kinds) if kind and kinds else (not answer.content or not kinds), (where, kind, kinds)


def test_statuses_that_cannot_come_are_not_described(described: dict) -> None:
    for method, path, operation in operations(described):
        statuses = set(operation["responses"])
        assert ("404" in statuses) == ("{" in path or operation["operationId"] == "cluster"), operation["operationId"]
        if "requestBody" not in operation:
            assert not statuses & {"408", "413", "415"}, operation["operationId"]
        assert method != "GET" or "507" not in statuses


def test_head_is_there_wherever_get_is_and_allow_is_complete(served: Served, described: dict) -> None:
    for path, methods in described["paths"].items():
        real = path.format(collection="c", subject="s", medium="m", job_id="0" * 32, key="0" * 12)
        allowed = served.client.request("PATCH", real)
        wanted = {method.upper() for method in methods} | ({"HEAD"} if "get" in methods else set())
        assert allowed.status_code == 405
        assert set(allowed.headers["allow"].split(", ")) == wanted, path
        if "get" in methods:
            got, head = served.client.get(real), served.client.head(real)
            assert (head.status_code, head.content) == (got.status_code, b""), path
            assert head.headers["content-type"] == got.headers["content-type"]
