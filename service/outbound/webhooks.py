"""Tell a listed host that a job has ended: signed as Standard Webhooks (standardwebhooks.com) says, without results.

Off unless hosts are listed. Each delivery carries

    webhook-id         the same at every attempt, so that a receiver can ignore repetitions
    webhook-timestamp  seconds since 1970
    webhook-signature  v1,BASE64 of the HMAC-SHA256 of "id.timestamp.body"
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from standardwebhooks import Webhook

from service.ops.metrics import Metrics
from service.outbound.client import FAILURES, OutboundClient
from service.outbound.hosts import Refused

ATTEMPTS = 5
"""Most attempts to deliver one event."""
FIRST_PAUSE = 1.0
"""Seconds between the first attempt and the second; each later pause is twice as long as the one before."""
SECONDS = 10.0
"""For one attempt, from the look-up of the host to the status of its answer."""
SECRET_PREFIX = "whsec_"  # noqa: S105 - it marks secrets, it is none
SECRET_BYTES = range(24, 65)
"""Lengths that the standard allows for a secret."""

log = logging.getLogger(__name__)


class Webhooks:
    """Deliveries to `hosts` (`name`, `name:port` or an address), signed with the secret.

    Raises ValueError for a secret that is not `whsec_` and base64, or the base64 alone.
    """

    def __init__(self, hosts: Sequence[str], secret: str, metrics: Metrics) -> None:
        self._client = OutboundClient(hosts, "webhook")
        self._signer = Webhook(check_secret(secret)) if hosts else None
        self._metrics = metrics

    def check(self, url: str) -> None:
        """Check a URL without calling it. Raises InvalidRequest for a host that is not listed."""
        self._client.check(url)

    async def deliver(self, url: str, event: Mapping[str, object], message_id: str) -> bool:
        """Post an event until an answer of 2xx accepts it, a few times; return whether one did."""
        body = json.dumps(event)
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                status = await self._post(url, body, message_id)
            except Refused:
                log.warning("webhook refused: its host has a private address that is not listed")
                break
            except FAILURES:
                status = 0
            if 200 <= status < 300:
                self._metrics.webhooks.labels("delivered").inc()
                return True
            log.info("webhook not accepted", extra={"attempt": attempt + 1, "status": status})
        self._metrics.webhooks.labels("failed").inc()
        return False

    async def _post(self, url: str, body: str, message_id: str) -> int:
        """Make one attempt and return the status of the answer; its body is not read."""
        assert self._signer is not None, "check() refuses every URL while no host is listed"
        now = datetime.now(UTC)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(message_id, now, body),
        }
        async with self._client.stream("POST", url, headers, SECONDS, body.encode()) as response:
            return response.status_code


def check_secret(secret: str) -> str:
    """Return a secret that every verifier of Standard Webhooks takes. Raises ValueError for another."""
    try:
        size = len(base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True))
    except (binascii.Error, ValueError):
        size = 0
    if size not in SECRET_BYTES:
        raise ValueError(
            "FACE_WEBHOOK_SECRET: a secret is whsec_ and 24 to 64 random bytes in base64, "
            "as from: echo whsec_$(openssl rand -base64 32)"
        )
    return secret
