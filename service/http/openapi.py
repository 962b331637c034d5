"""The description of the API at /openapi.json: what FastAPI finds in the routes, completed for client generators."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import APIRoute

from service.http.auth import ENDPOINTS, Needs
from service.http.openapi_details import PROBLEM, describe_body, describe_parameters, describe_statuses
from service.http.uploads import OpenApi

SCHEME = "ApiKey"
REFUSALS = {
    "401": "a valid API key is needed, where API keys are on",
    "403": "the key lacks the role, or the request comes from another site's page",
    "429": "too many requests; Retry-After says when to come again",
}


def operation_id(route: APIRoute) -> str:
    """Return the name of a route's function: short, and what generated clients call it by."""
    return route.name


def complete_openapi(app: FastAPI, root_path: str) -> None:
    """Complete the OpenAPI document of an application: keys, statuses, errors, examples, and names of bodies."""
    generate = app.openapi

    def openapi() -> OpenApi:
        if app.openapi_schema is None:
            document = generate()
            _complete(document)
            if root_path:
                document["servers"] = [{"url": root_path}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(document: OpenApi) -> None:
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    components["securitySchemes"] = {
        SCHEME: {"type": "http", "scheme": "bearer", "description": "an API key, where API keys are on"}
    }
    needs = {(method, path): role for method, path, role, _ in ENDPOINTS}
    for path, method, operation in _operations(document):
        _summarize(operation)
        _describe_access(operation, needs.get((method.upper(), path), "nothing"))
        describe_parameters(operation)
        describe_statuses(path, method, operation)
        _describe_problems(operation)
        _name_request_bodies(operation, schemas)
        describe_body(operation)
    for name in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which are never sent
        schemas.pop(name, None)


def _operations(document: OpenApi) -> Iterator[tuple[str, str, OpenApi]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _summarize(operation: OpenApi) -> None:
    """Take the first clause of the description as the summary, in place of the words of the function's name."""
    operation["summary"] = re.split(r"[.:;]", operation["description"], maxsplit=1)[0]


def _describe_access(operation: OpenApi, needs: Needs) -> None:
    if needs == "nothing":
        return
    operation["security"] = [{SCHEME: []}]
    key = needs if needs == "any key" else f"a key with the role `{needs}`"
    role = f"Needs {key}, where API keys are on."
    operation["description"] = "\n\n".join(filter(None, [operation.get("description"), role]))
    for status, text in REFUSALS.items():
        operation["responses"].setdefault(status, {"description": text, "content": PROBLEM})


def _describe_problems(operation: OpenApi) -> None:
    """Describe every error as a problem document."""
    for status, response in operation["responses"].items():
        if status >= "400":
            response["content"] = PROBLEM


def _without_null(schema: OpenApi) -> OpenApi:
    """Return the schema of a body that may be left out; generated clients would send null, or fail, for it."""
    options = [option for option in schema.get("anyOf", []) if option.get("type") != "null"]
    return options[0] if len(options) == 1 else schema


def _name_request_bodies(operation: OpenApi, schemas: OpenApi) -> None:
    """Give schemas of bodies names, and describe each option once: as a query parameter.

    Bodies may hold the options too; forms made from the description would send each of them twice.
    """
    in_query = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "query"}
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        schema = content["schema"] = _without_null(content.get("schema", {}))
        if schema.get("type") != "object":
            continue
        form = kind == "multipart/form-data"
        name = "".join(word.capitalize() for word in operation["operationId"].split("_")) + ("Form" if form else "Body")
        properties = {key: value for key, value in schema["properties"].items() if key not in in_query}
        others = {key: value for key, value in schema.items() if key not in ("properties", "oneOf")}
        schemas[name] = others | {"title": name, "properties": properties, "additionalProperties": True}
        content["schema"] = {"$ref": f"#/components/schemas/{name}"}
