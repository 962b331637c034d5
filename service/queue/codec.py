"""Requests, outcomes and model cards as bytes. A deadline travels as the time that is left.

A request travels as a head (msgpack) beside its photo. Where there is a key, the photo is encrypted and bound to its
head, and the whole outcome is encrypted. Where a key is `required`, what is not encrypted is refused: whoever writes to
Redis without the key can neither add nor change a request, an outcome or a model card.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping

from msgspec import MsgspecError, Struct, msgpack

from service.crypto.queue_cipher import QueueCipher
from service.crypto.vault import VaultLocked
from service.errors import QueueLocked, WorkerLost
from service.wire import (
    AnalysisFailure,
    AnalysisOutcome,
    AnalysisRequest,
    AnalysisResult,
    ImageHeader,
    ModelCard,
    Options,
    WorkerInfo,
)

PREFIX = "face:queue:"
PHOTO = b"photo"
OUTCOME = b"outcome"
CARD = b"card"
PLAIN_FAILURES = frozenset({WorkerLost.code, QueueLocked.code})
"""Failures that are taken unencrypted even where a key is required: from scripts and from workers without the key."""


class RequestHead(Struct, frozen=True, omit_defaults=True):
    """All of a request that is not its photo, id or time. `size` is the photo's bytes before encryption."""

    request_id: str
    header: ImageHeader
    options: Options
    size: int
    encrypted: bool = False
    trace: str = ""


class _EncryptedOutcome(Struct, frozen=True, tag="encrypted"):
    id: str
    data: bytes


class _SignedCard(Struct, frozen=True):
    """A card as bytes; `proof` is the encrypted hash of them, made by a worker that has the queue key."""

    card: bytes
    proof: bytes = b""


_head_decoder = msgpack.Decoder(RequestHead)
_outcome_decoder = msgpack.Decoder(AnalysisResult | AnalysisFailure | _EncryptedOutcome)
_plain_outcome_decoder = msgpack.Decoder(AnalysisResult | AnalysisFailure)
_worker_decoder = msgpack.Decoder(WorkerInfo)
_signed_card_decoder = msgpack.Decoder(_SignedCard)
_card_decoder = msgpack.Decoder(ModelCard)


def pack_request(request: AnalysisRequest, cipher: QueueCipher | None) -> tuple[bytes, bytes, int]:
    """Return the head, the photo and the milliseconds left until the deadline."""
    head = msgpack.encode(
        RequestHead(
            request.request_id, request.header, request.options, len(request.image), cipher is not None, request.trace
        )
    )
    image = cipher.encrypt(request.image, PHOTO, request.id.encode(), head) if cipher else request.image
    milliseconds_left = max(0, round(1000 * (request.deadline - time.monotonic())))
    return head, image, milliseconds_left


def unpack_head(fields: Mapping[bytes, bytes]) -> RequestHead:
    """Return what can be read without the key. Raises ValueError for bytes that are no request."""
    try:
        return _head_decoder.decode(fields[b"h"])
    except (KeyError, MsgspecError) as error:
        raise ValueError("an entry of the queue is not a valid request") from error


def unpack_request(
    fields: Mapping[bytes, bytes],
    image: bytes,
    waited: float,
    attempt: int,
    cipher: QueueCipher | None,
    required: bool = False,
) -> AnalysisRequest:
    """Return a request that arrived `waited` seconds ago. Raises ValueError for anything else, VaultLocked."""
    head = unpack_head(fields)
    try:
        request_id = str(fields[b"id"], "ascii")
        milliseconds = int(fields[b"t"])
    except (KeyError, ValueError) as error:
        raise ValueError("an entry of the queue is not a valid request") from error
    if head.encrypted:
        image = _decrypted(image, cipher, PHOTO, fields[b"id"], fields[b"h"])
    elif required:
        raise VaultLocked("a request came unencrypted, and this worker has a queue key")
    submitted = time.monotonic() - max(0.0, waited)
    return AnalysisRequest(
        id=request_id,
        request_id=head.request_id,
        image=image,
        header=head.header,
        options=head.options,
        submitted=submitted,
        deadline=submitted + milliseconds / 1000,
        attempt=attempt,
        trace=head.trace,
    )


def answer_cipher(fields: Mapping[bytes, bytes], image: bytes, cipher: QueueCipher | None) -> QueueCipher | None:
    """Return the cipher for the outcome of a request: under the key that encrypted the request, if one did."""
    return cipher.for_answer_to(image) if cipher and unpack_head(fields).encrypted else None


def pack_outcome(outcome: AnalysisOutcome, cipher: QueueCipher | None) -> bytes:
    """Return the outcome as bytes, encrypted where there is a cipher."""
    packed = msgpack.encode(outcome)
    if cipher is None:
        return packed
    return msgpack.encode(_EncryptedOutcome(outcome.id, cipher.encrypt(packed, OUTCOME, outcome.id.encode())))


def unpack_outcome(data: bytes, cipher: QueueCipher | None, required: bool = False) -> AnalysisOutcome:
    """Return what pack_outcome() or a script packed. Raises ValueError for anything else, VaultLocked."""
    try:
        outcome = _outcome_decoder.decode(data)
        if isinstance(outcome, _EncryptedOutcome):
            packed = _decrypted(outcome.data, cipher, OUTCOME, outcome.id.encode())
            plain: AnalysisOutcome = _plain_outcome_decoder.decode(packed)
            return plain
    except MsgspecError as error:
        raise ValueError("an answer from the queue is not a valid outcome") from error
    if required and not (isinstance(outcome, AnalysisFailure) and outcome.code in PLAIN_FAILURES):
        raise VaultLocked("an answer came unencrypted, and this process has a queue key")
    unencrypted: AnalysisOutcome = outcome
    return unencrypted


def pack_worker(worker: WorkerInfo) -> bytes:
    """Return what a worker announces about itself as bytes."""
    return msgpack.encode(worker)


def unpack_worker(data: bytes) -> WorkerInfo:
    """Return what pack_worker() packed. Raises ValueError for anything else."""
    try:
        return _worker_decoder.decode(data)
    except MsgspecError as error:
        raise ValueError("what a worker announced cannot be read") from error


def card_id(card: ModelCard) -> str:
    """Return the name of a card: another calibration of the same model makes another card."""
    return hashlib.sha256(msgpack.encode(card)).hexdigest()[:32]


def pack_card(card: ModelCard, cipher: QueueCipher | None) -> bytes:
    """Return the card as bytes, with a proof that whoever made it has the queue key."""
    packed = msgpack.encode(card)
    proof = cipher.encrypt(hashlib.sha256(packed).digest(), CARD) if cipher else b""
    return msgpack.encode(_SignedCard(packed, proof))


def unpack_card(data: bytes, cipher: QueueCipher | None, required: bool = False) -> ModelCard:
    """Return what pack_card() packed. Raises ValueError for anything else, VaultLocked for one without its proof."""
    try:
        signed = _signed_card_decoder.decode(data)
        card = _card_decoder.decode(signed.card)
    except MsgspecError as error:
        raise ValueError("a model card cannot be read") from error
    if required and _decrypted(signed.proof, cipher, CARD) != hashlib.sha256(signed.card).digest():
        raise VaultLocked("the model card was changed in the queue")
    return card


def _decrypted(envelope: bytes, cipher: QueueCipher | None, *associated_data: bytes) -> bytes:
    if cipher is None:
        raise VaultLocked("entries of the queue are encrypted, and this process has no key")
    return cipher.decrypt(envelope, *associated_data)
