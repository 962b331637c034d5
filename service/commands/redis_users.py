"""`allinone-face redis-users`: users of Redis that reach no more than they need, and their passwords."""

from __future__ import annotations

import argparse
import hashlib
import os
import secrets
import sys
from pathlib import Path

from service.commands import CommandError, show_examples
from service.config import Settings
from service.redis_access import USERS

USERS_FILE = "users.acl"


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `redis-users`."""
    parser.set_defaults(command=make)
    parser.add_argument(
        "folder", type=Path, help="gets users.acl for redis-server, and a file NAME/password for each user"
    )
    show_examples(
        parser,
        "allinone-face redis-users redis-users",
        "redis-server --aclfile redis-users/default/users.acl",
        "FACE_REDIS_URL=redis://worker@localhost FACE_REDIS_PASSWORD_FILE=redis-users/worker/password "
        "allinone-face worker",
    )


def make(_: Settings, arguments: argparse.Namespace) -> int:
    """Make the passwords that are missing, and write the ACL file, which holds their hashes only."""
    folder: Path = arguments.folder
    try:
        lines = [f"user {name} on #{_hash_of_password(folder / name)} {rules}\n" for name, rules in USERS.items()]
        acl_file = folder / "default" / USERS_FILE
        partial = acl_file.with_suffix(".next")
        partial.write_text("".join(lines), encoding="ascii")
        partial.replace(acl_file)
    except OSError as error:
        raise CommandError(f"the users cannot be written: {error.strerror or error}") from error
    sys.stdout.write(f"{acl_file}\n")
    return 0


def _hash_of_password(folder: Path) -> str:
    """Return the SHA-256 of the password in a user's folder, as Redis writes it; make the password if there is none.

    The hash needs no salt: a password has 192 random bits.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "password"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(24))
    return hashlib.sha256(path.read_text(encoding="ascii").strip().encode()).hexdigest()
