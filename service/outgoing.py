"""Which hosts this service connects to on a caller's word: those that are listed, and never by a detour inside.

A host's address is looked up once and checked, and that very address is to be connected to: a private one only if it is
listed itself.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from service.errors import InvalidRequest

PORTS = {"http": 80, "https": 443}


class Refused(Exception):
    """The address is not one to connect to."""


class Hosts:
    """The listed ones (`name`, `name:port`, an address), and what they are listed for."""

    def __init__(self, listed: Sequence[str], purpose: str) -> None:
        self._listed, self._purpose = frozenset(listed), purpose

    def check(self, url: str) -> SplitResult:
        """The URL's parts. Raises InvalidRequest for one that is not to be called."""
        if not self._listed:
            raise InvalidRequest(f"{self._purpose}: this server takes no URLs")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidRequest(f"{self._purpose}: not a URL") from error
        if parts.scheme not in PORTS or not parts.hostname or parts.username is not None:
            raise InvalidRequest(f"{self._purpose}: an http or https URL without a user is needed")
        usual = port in (None, PORTS[parts.scheme])
        if f"{parts.hostname}:{port}" not in self._listed and not (usual and parts.hostname in self._listed):
            raise InvalidRequest(f"{self._purpose}: this host is not listed")
        return parts

    def address(self, parts: SplitResult) -> tuple[str, int]:
        """The first address the host has, and the port, after a look-up that takes time. Raises Refused, OSError."""
        port = parts.port or PORTS[parts.scheme]
        address = str(socket.getaddrinfo(str(parts.hostname), port, type=socket.SOCK_STREAM)[0][4][0])
        found = ipaddress.ip_address(address.partition("%")[0])
        meant = getattr(found, "ipv4_mapped", None) or found
        listed = address in self._listed or f"{address}:{port}" in self._listed
        if not listed and not (meant.is_global and not meant.is_multicast):
            raise Refused
        return address, port
