"""HTTP requests to listed hosts: no redirects, no proxies, and a connection to the very address that was checked.

service/outbound/hosts.py decides which URLs and addresses are allowed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import httpx

from service.outbound.hosts import Hosts

FAILURES = (OSError, TimeoutError, httpx.HTTPError, httpx.InvalidURL)
"""What a request raises that could not be made or was not answered."""


class OutboundClient:
    """Requests to `hosts` (`name`, `name:port` or an address), which are listed for a purpose that errors name."""

    def __init__(self, hosts: Sequence[str], purpose: str) -> None:
        self._hosts = Hosts(hosts, purpose)
        self._tls = ssl.create_default_context() if hosts else None  # reading the certificates takes 40 ms

    def check(self, url: str) -> None:
        """Check a URL without a request. Raises InvalidRequest for a host that is not listed."""
        self._hosts.check(url)

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, headers: Mapping[str, str], seconds: float, content: bytes | None = None
    ) -> AsyncIterator[httpx.Response]:
        """Send one request and yield its response, whose body is not read yet; `seconds` is for all of it.

        Raises InvalidRequest for a host that is not listed, Refused for a private address, and FAILURES.
        """
        parts = self._hosts.check(url)
        assert self._tls is not None, "check() refuses every URL while no host is listed"
        async with asyncio.timeout(seconds):
            address, port = await asyncio.to_thread(self._hosts.address, parts)
            pinned = httpx.URL(url).copy_with(host=address, port=port, fragment=None)
            async with (
                httpx.AsyncClient(verify=self._tls, trust_env=False, timeout=seconds) as client,
                client.stream(
                    method,
                    pinned,
                    headers={"Host": parts.netloc, "User-Agent": "allinone-face", **headers},
                    content=content,
                    extensions={"sni_hostname": str(parts.hostname)},
                ) as response,
            ):
                yield response
