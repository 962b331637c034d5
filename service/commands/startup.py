"""What a server says when it starts: where to open it, and that it cannot be used before there is an API key."""

from __future__ import annotations

import ipaddress
import logging
import socket
import sys

from service.commands import complain
from service.config import Settings
from service.errors import ServiceError
from service.gallery.resources import open_keys
from service.http.auth import keys_needed

NO_KEYS = "no keys yet: nobody can call this server; make one with `allinone-face keys create NAME --role admin`"

log = logging.getLogger(__name__)


def announce(listener: socket.socket, settings: Settings) -> None:
    """Say where the server is, in words on a terminal and else in the log, and whether a key is missing."""
    host, port = listener.getsockname()[:2]
    on_terminal = sys.stderr.isatty()
    if on_terminal:
        complain(f"open {_url(_reachable(host), port)} in a browser; Ctrl+C stops the server")
    else:
        log.info("listening", extra={"url": _url(host, port)})
    if keys_needed(settings) and not _has_keys(settings):
        if on_terminal:
            complain(NO_KEYS)
        else:
            log.warning(NO_KEYS)


def _has_keys(settings: Settings) -> bool:
    """Return whether there is a key; True where that cannot be found out now."""
    try:
        with open_keys(settings) as keys:
            return bool(keys.keys())
    except ServiceError:
        return True


def _reachable(host: str) -> str:
    """Return an address that a browser on this machine can open."""
    address = ipaddress.ip_address(host)
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
