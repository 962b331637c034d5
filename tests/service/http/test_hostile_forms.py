"""Multipart forms of every shape: whatever comes in whatever pieces is read as it was meant, or refused cheaply."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import InvalidMultipart, ServiceError, TooManyImages
from service.http.forms import MAX_FIELD_BYTES, MAX_FIELDS, UNUSED_PARTS, Form, read_form

FILES = 16
TYPE = "multipart/form-data; boundary=edge"
NAMES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=12)


def part(name: str, data: bytes, filename: str | None = None) -> bytes:
    head = f'--edge\r\nContent-Disposition: form-data; name="{name}"'
    head += "" if filename is None else f'; filename="{filename}"'
    return head.encode() + b"\r\n\r\n" + data + b"\r\n"


END = b"--edge--\r\n"


def read(pieces: Sequence[bytes], content_type: str = TYPE) -> Form:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    return asyncio.run(read_form(content_type, body(), FILES))


def cut(data: bytes, places: Sequence[float]) -> list[bytes]:
    """Cut at shares of the length, as a network may; pieces may be empty."""
    at = [0, *sorted(int(place * len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(at)]


@settings(max_examples=150, deadline=None)
@given(
    files=st.lists(st.tuples(NAMES, st.binary(min_size=1, max_size=80)), max_size=FILES),
    fields=st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"), max_size=40), max_size=8),
    places=st.lists(st.floats(0, 1), max_size=12),
)
def test_a_form_is_what_was_sent_wherever_the_network_cuts_it(
    files: list[tuple[str, bytes]], fields: dict[str, str], places: list[float]
) -> None:
    data = b"".join(part(name, content, "f") for name, content in files)
    data += b"".join(part(name, text.encode()) for name, text in fields.items()) + END
    form = read(cut(data, places))
    assert form.files == [content for _, content in files]
    assert form.file_fields == [name for name, _ in files]
    assert form.fields == fields


@settings(max_examples=200, deadline=None)
@given(
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=6),
    keep=st.floats(0, 1),
    places=st.lists(st.floats(0, 1), max_size=6),
)
def test_damage_raises_nothing_but_a_service_error(
    changes: list[tuple[float, int]], keep: float, places: list[float]
) -> None:
    data = bytearray(part("file", b"photo" * 20, "a.png") + part("max_faces", b"3") + END)
    for place, value in changes:
        data[int(place * len(data))] = value
    try:
        form = read(cut(bytes(data[: int(keep * len(data))]), places))
    except InvalidMultipart:
        return
    assert len(form.files) + len(form.fields) <= 2


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["", "edge", '"', '"edge', "e" * 200, "\xff", "e;x=y"]))
def test_noise_is_no_form(data: bytes, boundary: str) -> None:
    with pytest.raises(ServiceError):
        read([data], f"multipart/form-data; boundary={boundary}")


SMALL = part("a", b"")
TOO_MUCH = {
    "one field again and again": SMALL * 100_000 + END,
    "file inputs that nobody used": part("a", b"", "") * 100_000 + END,
    "fields": b"".join(part(f"a{number}", b"") for number in range(MAX_FIELDS + 1)) + END,
    "a field": part("a", bytes(MAX_FIELD_BYTES + 1)) + END,
    "the name of a header": b"--edge\r\n" + b"A" * 20_000_000 + b": b\r\n\r\n" + END,
    "the value of a header": b"--edge\r\nA: " + b"b" * 20_000_000 + b"\r\n\r\n" + END,
    "headers": b"--edge\r\n" + b"A: b\r\n" * 1_000_000 + b"\r\n" + END,
    "options of a header": part('a"' + '; b="c' * 1_000_000, b"") + END,
    "what stands before the form": b"b" * 20_000_000 + SMALL + END,
    "a boundary": b"--edge" + b"e" * 20_000_000,
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_refused_before_it_costs_time(name: str) -> None:
    started = time.process_time()
    with pytest.raises(InvalidMultipart):
        read([TOO_MUCH[name][start : start + 65536] for start in range(0, len(TOO_MUCH[name]), 65536)])
    assert time.process_time() - started < 1


def test_too_many_files_are_told_apart_and_what_browsers_send_is_taken() -> None:
    with pytest.raises(TooManyImages):
        read([part("f", b"x", "f") * (FILES + 1) + END])
    page = part("f", b"x", "f") * FILES + part("unused", b"", "") * UNUSED_PARTS + END
    assert len(read([page]).files) == FILES


def test_of_a_field_sent_twice_the_last_value_counts() -> None:
    assert read([part("a", b"1") + part("a", b"2") + END]).fields == {"a": "2"}


@pytest.mark.parametrize("filling", [b"\r", b"\n", b"\r\n", b"\r\n-", b"\r\n--", b"\r\n--edg"])
def test_a_photo_may_look_like_boundaries(filling: bytes) -> None:
    photo = filling * (2_000_000 // len(filling))
    started = time.process_time()
    data = part("f", photo, "f") + END
    form = read([data[start : start + 65536] for start in range(0, len(data), 65536)])
    assert form.files == [photo]
    assert time.process_time() - started < 2
