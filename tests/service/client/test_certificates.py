"""Clients of one process share the certificates that they trust, until others are named."""

import shutil
from pathlib import Path

import certifi
import pytest

from service.client.certificates import trusted_certificates


def test_certificates_are_read_once_and_again_where_others_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trusted_certificates()
    assert trusted_certificates() is before
    assert before.get_ca_certs()
    own = shutil.copy(certifi.where(), tmp_path / "own.pem")
    with monkeypatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(own))
        assert trusted_certificates() is not before
    assert trusted_certificates() is before
