"""Which hosts this service connects to when a caller names a URL: listed ones, and no private address behind them.

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
DETOURS = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "::/96",  # IPv4-compatible (RFC 4291)
            "::ffff:0:0:0/96",  # IPv4-translated (RFC 2765)
            "64:ff9b::/96",  # NAT64 (RFC 6052)
            "64:ff9b:1::/48",  # NAT64 of one's own network (RFC 8215)
            "2001::/32",  # Teredo (RFC 4380)
            "2002::/16",  # 6to4 (RFC 3056)
        ),
    )
)
"""IPv6 addresses that stand for an IPv4 address behind a gateway: they look public, what they reach need not be."""


class Refused(Exception):
    """A host has a private address that is not listed, so nothing connects to it."""


class Hosts:
    """The listed hosts (`name`, `name:port` or an address), and the purpose that errors name."""

    def __init__(self, listed: Sequence[str], purpose: str) -> None:
        self._listed = frozenset(listed)
        self._purpose = purpose

    def check(self, url: str) -> SplitResult:
        """Return the parts of a URL. Raises InvalidRequest for one whose host is not listed, and for what is no URL."""
        if not self._listed:
            raise InvalidRequest(f"{self._purpose}: this server takes no URLs")
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise InvalidRequest(f"{self._purpose}: not a URL") from error
        if parts.scheme not in PORTS or not parts.hostname or parts.username is not None:
            raise InvalidRequest(f"{self._purpose}: an http or https URL without a user is needed")
        is_default_port = port in (None, PORTS[parts.scheme])
        if f"{parts.hostname}:{port}" not in self._listed and not (is_default_port and parts.hostname in self._listed):
            raise InvalidRequest(f"{self._purpose}: this host is not listed")
        return parts

    def address(self, parts: SplitResult) -> tuple[str, int]:
        """Return the host's first address, and the port, after a look-up, which takes time. Raises Refused, OSError."""
        port = parts.port or PORTS[parts.scheme]
        address = str(socket.getaddrinfo(str(parts.hostname), port, type=socket.SOCK_STREAM)[0][4][0])
        is_listed = address in self._listed or f"{address}:{port}" in self._listed
        if not is_listed and not is_public(address):
            raise Refused
        return address, port


def is_public(address: str) -> bool:
    """Return whether an address is one of the public internet and of no other network behind it."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in DETOURS):
            return False
    return ip.is_global and not ip.is_multicast
