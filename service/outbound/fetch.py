"""Fetch photos by their URL, from listed hosts only: one GET, limited in bytes and seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httpx

from service.errors import BodyTooLarge, NotFetched
from service.outbound.client import FAILURES, OutboundClient
from service.outbound.hosts import Refused

SECONDS = 10.0
"""For one photo, from the look-up of its host to its last byte."""
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity"}


class Fetcher:
    """Fetches photos from `hosts` (`name`, `name:port` or an address)."""

    def __init__(self, hosts: Sequence[str], seconds: float = SECONDS) -> None:
        self._client = OutboundClient(hosts, "image")
        self._seconds = seconds

    async def get(self, url: str, max_bytes: int, hold: Callable[[int], None] = lambda _: None) -> bytes:
        """Return the photo's bytes; `hold` is told how many come, and ends it by what it raises.

        Raises InvalidRequest for a host that is not listed, NotFetched, BodyTooLarge.
        """
        try:
            async with self._client.stream("GET", url, HEADERS, self._seconds) as response:
                if response.status_code != 200:
                    hint = "; no redirect is followed" if response.is_redirect else ""
                    raise NotFetched(f"its host answered {response.status_code}, not 200{hint}")
                data = bytearray()
                async for chunk in response.aiter_raw():
                    hold(len(chunk))
                    data += chunk
                    if len(data) > max_bytes:
                        raise BodyTooLarge(f"the image at a URL has more than {max_bytes:,} bytes")
                return bytes(data)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise NotFetched(f"it did not come within {self._seconds:g} seconds") from error
        except (Refused, *FAILURES) as error:
            raise NotFetched("its host cannot be reached from here, or gave no whole answer") from error
