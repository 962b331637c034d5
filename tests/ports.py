"""Ports for processes that are told where to listen, which nobody takes between the choice of one and its use."""

import itertools
import os
import socket

FIRST, LAST = 20_000, 32_000
"""Below those that systems give to connections and to who asks for port 0 (Linux: from 32768)."""
_NUMBERS = itertools.count(os.getpid() * 101)


def free_port() -> int:
    """Return a port at which nobody listens, and which no other process of tests is given while this one lives."""
    for number in itertools.islice(_NUMBERS, LAST - FIRST):
        port = FIRST + number % (LAST - FIRST)
        if _is_free(port) and _reserve(port):
            return port
    raise OSError("all ports are in use")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _reserve(port: int) -> bool:
    """Reserve a port by a name among sockets, which ends with the process that has it; return whether it was left."""
    with socket.socket(socket.AF_UNIX) as name:
        try:
            name.bind(f"\0face-tests-port-{port}")
        except OSError:
            return False
        name.detach()
    return True
