"""Requests of other sites' pages to a server without API keys: refused.

Where no key is needed, whoever reaches the server is let in. A web page open in a browser on this machine can reach
loopback: by a form or script of its own, or by a host name of its own that it lets resolve to 127.0.0.1 (DNS
rebinding). A reverse proxy on this machine would let in everybody. So each request must name this machine, come from
the server's own pages or from no page, and not have been forwarded.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers

from service.config import Settings
from service.errors import ServiceError
from service.http.auth import Endpoint, is_loopback, keys_needed


class ForeignHost(ServiceError):
    """The request reached a server without API keys under another name, through a proxy or from another site's page."""

    status = 403
    code = "foreign_host"
    title = "Without API keys this server answers to this machine only"


class BrowserGuard:
    """Checks the headers by which a request of a foreign page or proxy can be recognized."""

    def __init__(self, settings: Settings) -> None:
        self._open = not keys_needed(settings)
        self._local = is_loopback(settings.host)
        self._origins = frozenset(settings.cors_origins)

    def check(self, headers: Headers, endpoint: Endpoint | None) -> None:
        """Raise ForeignHost for a request that came from elsewhere; with API keys every request passes."""
        if not self._open:
            return
        hosts = headers.getlist("host")
        if self._local:
            if len(hosts) != 1 or not is_loopback(_hostname(hosts[0])):
                raise ForeignHost("the request names another host; set FACE_API_KEYS=on to serve others")
            if any(name == "forwarded" or name.startswith("x-forwarded-") or name == "x-real-ip" for name in headers):
                raise ForeignHost("the request came through a proxy; set FACE_API_KEYS=on to serve others")
        if endpoint is not None and endpoint.is_page and _is_navigation(headers):
            return  # a link to the page: it shows nothing to the site that it stands on
        origins = headers.getlist("origin")
        if any(origin not in self._origins and not _same_origin(origin, hosts) for origin in origins):
            raise ForeignHost("the request comes from another site's page; FACE_CORS_ORIGINS lists those allowed")
        if not origins and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise ForeignHost("the request comes from another site's page")


def _is_navigation(headers: Headers) -> bool:
    return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def _same_origin(origin: str, hosts: list[str]) -> bool:
    """Return whether an Origin is the server's own: same host, same port."""
    return len(hosts) == 1 and origin.lower() in (f"http://{hosts[0]}".lower(), f"https://{hosts[0]}".lower())


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
