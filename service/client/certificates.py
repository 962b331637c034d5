"""The certificates that clients trust: read once for all clients of a process, since reading them takes 40 ms.

See docs/log.md, 'where the tests' seconds go'.
"""

from __future__ import annotations

import os
import ssl
from functools import cache

import httpx


def trusted_certificates() -> ssl.SSLContext:
    """Return what httpx trusts by default: its own list, or what SSL_CERT_FILE and SSL_CERT_DIR name now."""
    return _read(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))


@cache
def _read(_file: str | None, _folder: str | None) -> ssl.SSLContext:
    return httpx.create_ssl_context()
