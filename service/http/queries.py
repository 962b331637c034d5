"""The query of a request, before any of its body: a parameter that a route does not know is refused, as in bodies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl

from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel

from service.errors import InvalidRequest

QueryNames = Mapping[tuple[str, str], frozenset[str]]
"""The query parameters that each route takes, by its method and path."""


def query_names(routers: Iterable[APIRouter]) -> QueryNames:
    """Return the query parameters of all routes of these routers."""
    routes = (route for router in routers for route in router.routes if isinstance(route, APIRoute))
    return {(method, route.path): _names(route) for route in routes for method in route.methods or ()}


def check_query(query: bytes, known: frozenset[str]) -> None:
    """Raise InvalidRequest for a parameter that is not known, and for one that is given more than once.

    A misspelt one would else be as if it were not there: photos would not be kept that were to be kept.
    """
    given = Counter(name for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    for name, times in given.items():
        if name not in known:
            takes = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            raise _refused(name, "extra_forbidden", f"this call has no such query parameter; {takes}")
        if times > 1:
            raise _refused(name, "repeated", f"this query parameter is given {times} times")


def _refused(name: str, kind: str, text: str) -> InvalidRequest:
    error = InvalidRequest(f"{name}: {text}")
    error.members = {"errors": [{"loc": ["query", name], "type": kind, "msg": text}]}
    return error


def _names(route: APIRoute) -> frozenset[str]:
    described = (route.openapi_extra or {}).get("parameters", ())
    names = {parameter["name"] for parameter in described if parameter["in"] == "query"}
    for field in route.dependant.query_params:
        kind = field.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names |= {option.alias or name for name, option in kind.model_fields.items()}
        else:
            names.add(field.alias)
    return frozenset(names)
