"""Photos by their URL, from listed hosts only: one GET, no redirects, so many bytes, so many seconds.

Off unless hosts are listed. service/outgoing.py says which addresses are connected to.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import httpx

from service.errors import BodyTooLarge, NotFetched
from service.outgoing import Hosts, Refused

SECONDS = 10.0
"""For one photo, from the look-up of its host to its last byte."""
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "allinone-face"}


class Fetcher:
    """Gets what lies at URLs of `hosts` (`name`, `name:port`, an address)."""

    def __init__(self, hosts: Sequence[str], seconds: float = SECONDS) -> None:
        self._hosts, self._seconds = Hosts(hosts, "image"), seconds
        self._tls = ssl.create_default_context()

    async def get(self, url: str, most: int) -> bytes:
        """The bytes. Raises InvalidRequest for a URL that is not listed, NotFetched, BodyTooLarge."""
        parts = self._hosts.check(url)
        try:
            async with asyncio.timeout(self._seconds):
                address, port = await asyncio.to_thread(self._hosts.address, parts)
                pinned = httpx.URL(url).copy_with(host=address, port=port, fragment=None)
                return await self._read(pinned, str(parts.hostname), parts.netloc, most)
        except (Refused, OSError, TimeoutError, httpx.HTTPError, httpx.InvalidURL) as error:
            raise NotFetched from error

    async def _read(self, url: httpx.URL, host: str, netloc: str, most: int) -> bytes:
        data, name = bytearray(), {"sni_hostname": host}
        async with (
            httpx.AsyncClient(verify=self._tls, trust_env=False) as client,
            client.stream("GET", url, headers={"Host": netloc, **HEADERS}, extensions=name) as answer,
        ):
            if answer.status_code != 200:
                raise NotFetched
            async for chunk in answer.aiter_raw():
                data += chunk
                if len(data) > most:
                    raise BodyTooLarge(f"the image at a URL has more than {most:,} bytes")
        return bytes(data)
