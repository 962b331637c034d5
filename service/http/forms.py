"""Multipart forms, parsed in memory while they arrive: photos never touch the disk.

Starlette's own parser spools files to disk, decodes parts without a filename as text and takes a form that ends before
its last boundary. This one uses the same python-multipart underneath.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from service.errors import InvalidMultipart, TooManyImages
from service.formats import sniff, sniff_video

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

MAX_FIELDS = 50
MAX_FIELD_BYTES = 256 << 10
UNUSED_PARTS = 100
"""Parts that a form may have beside its files and fields: file inputs that nobody used, fields sent twice."""


@dataclass
class Form:
    """The files of a form in their order, and its text fields; of a field sent twice the last value counts.

    `file_fields` are the names of the fields that the files came in, in the same order.
    """

    files: list[bytes] = field(default_factory=list, repr=False)
    file_fields: list[str] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass
class _Part:
    disposition: bytes = b""
    content_type: bytes = b""
    name: str = ""
    filename: str | None = None
    data: bytearray = field(default_factory=bytearray)

    @property
    def is_file(self) -> bool:
        """Return whether this is a file; some senders leave the filename out."""
        return self.filename is not None or self.content_type.startswith((b"image/", b"video/"))


async def read_form(content_type: str, body: AsyncIterator[bytes], max_files: int) -> Form:
    """Read a multipart form of at most `max_files` files. Raises InvalidMultipart, TooManyImages."""
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InvalidMultipart("the Content-Type names no boundary")
    reader = _Reader(max_files)
    try:
        parser = MultipartParser(boundary, reader.callbacks())
        async for chunk in body:
            parser.write(chunk)
    except FormParserError as error:
        raise InvalidMultipart("the form is damaged") from error
    if not reader.ended:
        raise InvalidMultipart("the form ends before its last boundary")
    return reader.form


class _Reader:
    """Collects the parts of a form from the callbacks of python-multipart."""

    def __init__(self, max_files: int) -> None:
        self.form = Form()
        self.ended = False
        self._parts = 0
        self._max_files = max_files
        self._part = _Part()
        self._header_name = b""
        self._header_value = b""

    def callbacks(self) -> MultipartCallbacks:
        """Return the callbacks for the parser, by their names."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_header_name,
            "on_header_value": self._add_header_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > self._max_files + MAX_FIELDS + UNUSED_PARTS:
            raise InvalidMultipart(f"a form may have {self._max_files} files and {MAX_FIELDS} fields")
        self._part = _Part()

    def _add_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        match self._header_name.lower():
            case b"content-disposition":
                self._part.disposition = self._header_value
            case b"content-type":
                self._part.content_type = self._header_value.lower()
        self._header_name = b""
        self._header_value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._part.disposition)
        if b"name" not in options:
            raise InvalidMultipart("a part of the form has no name")
        self._part.name = options[b"name"].decode("utf-8", "replace")
        if b"filename" in options:
            self._part.filename = options[b"filename"].decode("utf-8", "replace")
        if len(self.form.fields) >= MAX_FIELDS:
            raise InvalidMultipart(f"a form may have {MAX_FIELDS} fields")
        # A file input that nobody used comes without a filename and without data: it is no image.
        if self._part.is_file and self._part.filename != "" and len(self.form.files) >= self._max_files:
            raise TooManyImages(f"a request may hold {self._max_files} images")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        self._part.data += data[start:end]

    def _end_part(self) -> None:
        part = self._part
        head = bytes(part.data[:64])
        if part.is_file or sniff(head) is not None or sniff_video(head) is not None:
            if part.data or part.filename:  # a browser sends a file input that nobody used with neither
                self._add_file(bytes(part.data))
        elif len(part.data) > MAX_FIELD_BYTES:
            raise InvalidMultipart(f"a field of a form may have {MAX_FIELD_BYTES:,} bytes")
        else:
            self.form.fields[part.name] = part.data.decode("utf-8", "replace")

    def _add_file(self, data: bytes) -> None:
        if len(self.form.files) >= self._max_files:
            raise TooManyImages(f"a request may hold {self._max_files} images")
        self.form.files.append(data)
        self.form.file_fields.append(self._part.name)

    def _end(self) -> None:
        self.ended = True
