"""HTTP requests to listed hosts: no redirects, no proxies, and a connection to the very address that was checked.

service/outbound/hosts.py decides which URLs and addresses are allowed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx

from service.outbound.hosts import Hosts

FAILURES = (OSError, TimeoutError, httpx.HTTPError, httpx.InvalidURL)
"""What a request raises that could not be made or was not answered."""
LOOK_UPS = 4
"""Hosts that are looked up at a time."""


class OutboundClient:
    """Requests to `hosts` (`name`, `name:port` or an address), which are listed for a purpose that errors name.

    Look-ups have threads of their own: one cannot be interrupted, and where names are not answered many would keep the
    gallery's work out of the threads that everything shares.
    """

    def __init__(self, hosts: Sequence[str], purpose: str) -> None:
        self._hosts = Hosts(hosts, purpose)
        self._tls = ssl.create_default_context() if hosts else None  # reading the certificates takes 40 ms
        self._threads = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix=f"{purpose}-hosts")

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
            loop = asyncio.get_running_loop()
            address, port = await loop.run_in_executor(self._threads, self._hosts.address, parts)
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
