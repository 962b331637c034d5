"""Tells a listed host that a job has ended: signed, without results, never to an address that is not meant.

Off unless hosts are listed. No redirects are followed. service/outgoing.py says which addresses are connected to.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import http.client
import json
import logging
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from service.metrics import Metrics
from service.outgoing import Hosts, Refused

ATTEMPTS = 5
"""Deliveries tried, with 1, 2, 4, … seconds between them."""
TIMEOUT = 10.0

log = logging.getLogger(__name__)


class Webhooks:
    """Deliveries to `hosts` (`name`, `name:port`, an address), signed with the secret."""

    def __init__(self, hosts: Sequence[str], secret: str, metrics: Metrics, pause: float = 1.0) -> None:
        self._hosts = Hosts(hosts, "webhook")
        self._secret, self._metrics, self._pause = secret.encode(), metrics, pause
        self._tls = ssl.create_default_context()

    def check(self, url: str) -> None:
        """Raises InvalidRequest for a URL that is not to be called."""
        self._hosts.check(url)

    async def deliver(self, url: str, event: dict[str, Any]) -> bool:
        """Post it until it is taken (2xx), a few times; whether it was."""
        body = json.dumps(event).encode()
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(self._pause * 2 ** (attempt - 1))
            try:
                status = await asyncio.to_thread(self._post, url, body)
            except Refused:
                log.warning("webhook refused: a private address")
                break
            except (OSError, http.client.HTTPException, ValueError):
                status = 0
            if 200 <= status < 300:
                self._metrics.webhooks.labels("delivered").inc()
                return True
            log.info("webhook not taken", extra={"attempt": attempt + 1, "status": status})
        self._metrics.webhooks.labels("failed").inc()
        return False

    def sign(self, body: bytes, now: int) -> str:
        """The signature's header: HMAC-SHA256 of time, a full stop and the body."""
        digest = hmac.new(self._secret, f"{now}.".encode() + body, hashlib.sha256).hexdigest()
        return f"t={now},v1={digest}"

    def _post(self, url: str, body: bytes) -> int:
        """One delivery; its status."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT)
        connection.sock = self._connect(parts)
        headers = {"Content-Type": "application/json", "X-Face-Signature": self.sign(body, int(time.time()))}
        try:
            connection.request("POST", parts._replace(scheme="", netloc="").geturl() or "/", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def _connect(self, parts: SplitResult) -> socket.socket:
        """To the host. Raises Refused, OSError."""
        host, (address, port) = str(parts.hostname), self._hosts.address(parts)
        plain = socket.create_connection((address, port), TIMEOUT)
        if parts.scheme == "http":
            return plain
        try:
            return self._tls.wrap_socket(plain, server_hostname=host)
        except OSError:
            plain.close()
            raise
