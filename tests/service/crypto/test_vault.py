"""Keys, sealing, and what does not open."""

import base64
import stat

import pytest

from service.crypto.vault import (
    KEY_BYTES,
    TAG_BYTES,
    BadMasterKey,
    Cipher,
    Vault,
    VaultLocked,
    master_keys_from_file,
    new_key,
    parse_master_keys,
)

FIRST, SECOND = b"1" * KEY_BYTES, b"2" * KEY_BYTES


def test_what_is_sealed_opens_in_its_place_only():
    cipher = Cipher(FIRST)
    ciphertext = cipher.encrypt(b"Ada Lovelace", b"subject", b"id", b"tag")
    assert b"Lovelace" not in ciphertext, "a shorter word may stand in random bytes"
    assert cipher.decrypt(ciphertext, b"subject", b"id", b"tag") == b"Ada Lovelace"
    for place in ((b"subject", b"id", b"tog"), (b"subject", b"idtag"), (b"subject", b"idt", b"ag"), ()):
        with pytest.raises(VaultLocked):
            cipher.decrypt(ciphertext, *place)
    with pytest.raises(VaultLocked):
        Cipher(SECOND).decrypt(ciphertext, b"subject", b"id", b"tag")


@pytest.mark.parametrize("position", [0, 11, 12, 20, -1])
def test_one_flipped_bit_is_noticed(position):
    cipher = Cipher(FIRST)
    ciphertext = bytearray(cipher.encrypt(b"data", b"place"))
    ciphertext[position] ^= 1
    with pytest.raises(VaultLocked):
        cipher.decrypt(bytes(ciphertext), b"place")


@pytest.mark.parametrize("cut", [0, 5, 12, 20])
def test_a_cut_value_is_noticed(cut):
    with pytest.raises(VaultLocked):
        Cipher(FIRST).decrypt(Cipher(FIRST).encrypt(b"data", b"place")[:cut], b"place")


def test_the_same_value_never_looks_the_same():
    cipher = Cipher(FIRST)
    assert len({cipher.encrypt(b"x", b"p") for _ in range(100)}) == 100


def test_tags_find_again_and_depend_on_the_key():
    assert Cipher(FIRST).tag("Zoë") == Cipher(FIRST).tag("Zoë")
    assert len({Cipher(FIRST).tag("a"), Cipher(FIRST).tag("b"), Cipher(SECOND).tag("a")}) == 3
    assert len(Cipher(FIRST).tag("a")) == TAG_BYTES


def test_wrapped_keys_survive_a_change_of_the_master_key():
    key = new_key()
    wrapped = Vault([FIRST]).wrap(key, b"label")
    assert key not in wrapped
    both = Vault([SECOND, FIRST])
    assert both.unwrap(wrapped, b"label") == key
    assert not both.is_current(wrapped)
    again = both.wrap(key, b"label")
    assert both.is_current(again)
    assert Vault([SECOND]).unwrap(again, b"label") == key
    with pytest.raises(VaultLocked, match="another master key"):
        Vault([SECOND]).unwrap(wrapped, b"label")
    with pytest.raises(VaultLocked):
        both.unwrap(wrapped, b"other label")


def test_master_keys_are_read_from_text():
    text = ",".join(base64.b64encode(key).decode() for key in (FIRST, SECOND))
    assert parse_master_keys(text) == parse_master_keys(text.replace(",", "\n") + "\n") == [FIRST, SECOND]
    for bad in ("", "short", base64.b64encode(b"x" * 31).decode(), "é" * 44):
        with pytest.raises(BadMasterKey, match="32 bytes"):
            parse_master_keys(bad)
    with pytest.raises(BadMasterKey):
        Vault([])


def test_a_missing_file_is_made_once_for_its_owner_only(tmp_path):
    path = tmp_path / "data" / "master.key"
    keys = master_keys_from_file(path)
    assert len(keys) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert master_keys_from_file(path) == keys
    assert [file.name for file in path.parent.iterdir()] == ["master.key"]
    path.write_text("nonsense")
    with pytest.raises(BadMasterKey):
        master_keys_from_file(path)
