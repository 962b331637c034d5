"""A client that costs next to nothing: HTTP/1.1 on one connection, the answer's status, its body unread."""

import asyncio
from urllib.parse import urlsplit


class Connection(asyncio.Protocol):
    """One request after the other; opened when it is needed."""

    def __init__(self, url: str, timeout: float = 120) -> None:
        parts = urlsplit(url)
        self._address, self._timeout = (str(parts.hostname), parts.port or 80), timeout
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._seen = b""

    async def post(self, path: str, body: bytes) -> int:
        """The status of the answer. Raises OSError when the connection ends before, TimeoutError."""
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            self._seen = b""
            self._transport, _ = await loop.create_connection(lambda: self, *self._address)
        self._answer = loop.create_future()
        head = f"POST {path} HTTP/1.1\r\nHost: {self._address[0]}\r\nContent-Length: {len(body)}\r\n\r\n"
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
