"""Webhooks against a real HTTP server: what is sent, what counts as accepted, what is never called."""

import asyncio
import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from service.errors import InvalidRequest
from service.ops.metrics import Metrics
from service.outbound import webhooks
from service.outbound.webhooks import ATTEMPTS, Webhooks
from tests.service.listening import QuietHandler, listening

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
EVENT = {"id": "job-1", "status": "done", "total": 3, "done": 3, "failed": 1}


@dataclass
class Receiver:
    """A host that is called, and what it was sent."""

    host: str
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(QuietHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(found.statuses.pop(0) if found.statuses else 204)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Handler) as host:
        found = Receiver(host)
        yield found


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "FIRST_PAUSE", 0)


def deliver(receiver: Receiver, *, path: str = "/hook", listed: str = "", secret: str = SECRET) -> tuple[bool, Metrics]:
    metrics = Metrics()
    sender = Webhooks((listed or receiver.host,), secret, metrics)
    return asyncio.run(sender.deliver(f"http://{receiver.host}{path}", EVENT, "job-1")), metrics


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_")])
def test_a_delivery_verifies_with_the_very_secret_that_was_set(receiver: Receiver, secret: str) -> None:
    delivered, metrics = deliver(receiver, path="/hook?tenant=7#part", secret=secret)
    assert delivered
    [(path, headers, body)] = receiver.requests
    assert (path, headers["host"], headers["webhook-id"]) == ("/hook?tenant=7", receiver.host, "job-1")
    assert Webhook(secret).verify(body, headers) == EVENT
    assert b'face_webhooks_total{outcome="delivered"} 1.0' in metrics.render()
    for changed in ({"webhook-id": "job-2"}, {"webhook-timestamp": "1"}):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(body, headers | changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(json.dumps(EVENT | {"failed": 0}), headers)


def test_attempts_carry_one_id_and_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.statuses = [503, 302]
    assert deliver(receiver)[0]
    assert [path for path, _, _ in receiver.requests] == ["/hook"] * 3
    assert {headers["webhook-id"] for _, headers, _ in receiver.requests} == {"job-1"}


def test_attempts_come_to_an_end(receiver: Receiver) -> None:
    receiver.statuses = [500] * 20
    delivered, metrics = deliver(receiver)
    assert not delivered
    assert len(receiver.requests) == ATTEMPTS
    assert b'face_webhooks_total{outcome="failed"} 1.0' in metrics.render()


def test_a_listed_name_does_not_lead_to_a_private_address(receiver: Receiver) -> None:
    port = receiver.host.rpartition(":")[2]
    sender = Webhooks((f"localhost:{port}",), SECRET, Metrics())
    sender.check(f"http://localhost:{port}/")
    assert not asyncio.run(sender.deliver(f"http://localhost:{port}/", EVENT, "job-1"))
    assert not receiver.requests


@pytest.mark.parametrize("url", ["http://example.org/", "https://127.0.0.1:1/", "file:///etc/passwd", "http://[", "x"])
def test_only_listed_hosts_are_called(url: str) -> None:
    with pytest.raises(InvalidRequest):
        Webhooks(("example.com",), SECRET, Metrics()).check(url)
    with pytest.raises(InvalidRequest, match="no URLs"):
        Webhooks((), "", Metrics()).check(url)


@pytest.mark.parametrize("secret", ["", "a secret", "whsec_", "whsec_YWJj", "whsec_" + "ä" * 40])
def test_a_secret_that_verifiers_would_not_take(secret: str) -> None:
    with pytest.raises(ValueError, match="FACE_WEBHOOK_SECRET"):
        Webhooks(("example.org",), secret, Metrics())
