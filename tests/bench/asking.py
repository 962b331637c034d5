"""Clients that cost next to nothing, so that what is measured is the service: HTTP/1.1, the answer's status only."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

PATH = "/v1/faces"


@dataclass
class Seen:
    """What came back: status codes (0: none), seconds of each status 200 and of each 429."""

    seconds: float = 0.0
    codes: Counter[int] = field(default_factory=Counter)
    answered: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Answers with status 200 a second."""
        return self.codes[200] / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds of the answers with status 200."""
        return 1000 * float(np.percentile(self.answered or [np.nan], share))

    def add(self, code: int, seconds: float) -> None:
        """One answer."""
        self.codes[code] += 1
        if code in (200, 429):
            (self.answered if code == 200 else self.refused).append(seconds)

    def row(self) -> str:
        """As text."""
        p50, p90, p99 = (self.percentile(share) for share in (50, 90, 99))
        line = f"{self.rate:8.1f}/s  p50 {p50:7.1f}  p90 {p90:7.1f}  p99 {p99:7.1f} ms  {dict(self.codes)}"
        return line + (f"  429 p99 {1000 * np.percentile(self.refused, 99):.1f} ms" if self.refused else "")


class Connection(asyncio.Protocol):
    """One request after the other; opened when it is needed."""

    def __init__(self, url: str, timeout: float = 120) -> None:
        parts = urlsplit(url)
        self._address, self._timeout = (str(parts.hostname), parts.port or 80), timeout
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._seen = b""

    async def ask(self, body: bytes, seen: Seen) -> None:
        """One request, and what became of it."""
        begun = time.monotonic()
        try:
            code = await self.post(body)
        except (OSError, TimeoutError):
            self.close()
            code = 0
        seen.add(code, time.monotonic() - begun)

    async def post(self, body: bytes) -> int:
        """The status of the answer. Raises OSError when the connection ends before, TimeoutError."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            self._seen = b""
            self._transport, _ = await loop.create_connection(lambda: self, *self._address)
        self._answer = loop.create_future()
        head = f"POST {PATH} HTTP/1.1\r\nHost: {self._address[0]}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.writelines([head.encode(), body])
        async with asyncio.timeout(self._timeout):
            return await self._answer

    def close(self) -> None:
        """Let go of it."""
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Until the body is there, as long as its Content-Length says."""
        self._seen += data
        head, end, body = self._seen.partition(b"\r\n\r\n")
        if not end:
            return
        lines = head.lower().split(b"\r\n")
        length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
        if len(body) < length:
            return
        self._seen = body[length:]
        if b"connection: close" in lines and self._transport is not None:
            self._transport.close()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(int(lines[0].split()[1]))

    def connection_lost(self, error: Exception | None) -> None:
        """Say so to who waits."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionResetError("closed without an answer"))


async def closed(url: str, clients: int, seconds: float, bodies: list[bytes]) -> Seen:
    """Each client asks again when it has its answer."""
    seen, end = Seen(), time.monotonic() + seconds

    async def one(number: int) -> None:
        connection = Connection(url)
        while time.monotonic() < end:
            await connection.ask(bodies[number % len(bodies)], seen)
            number += clients
        connection.close()

    begun = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(clients)))
    seen.seconds = time.monotonic() - begun
    return seen


async def opened(url: str, rate: float, seconds: float, bodies: list[bytes], at_once: int = 0) -> Seen:
    """So many requests at once, then some that arrive at a rate, with exponential pauses, whatever comes back."""
    seen, idle = Seen(), list[Connection]()
    pauses = np.random.default_rng(0).exponential(1 / rate, round(rate * seconds))

    async def one(number: int) -> None:
        connection = idle.pop() if idle else Connection(url)
        await connection.ask(bodies[number % len(bodies)], seen)
        idle.append(connection)

    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(one(number))
        for number, at in enumerate(np.cumsum(pauses)):
            await asyncio.sleep(max(0.0, begun + at - time.monotonic()))
            group.create_task(one(number))
    seen.seconds = time.monotonic() - begun
    for connection in idle:
        connection.close()
    return seen
