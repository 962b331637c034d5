"""The threads of exports and imports: each has one at either end of a pipe between the gallery and its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

AT_ONCE = 4
"""Exports and imports of a process at a time; further ones wait."""
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Transfers:
    """Exports and imports under way, each of which holds one of the `places`.

    Among the threads that everything shares, one end of each pipe would wait for ever for a thread at the other end
    once there were as many transfers as threads, and the whole gallery with them.
    """

    def __init__(self) -> None:
        self.places = asyncio.Semaphore(AT_ONCE)
        self._threads = ThreadPoolExecutor(2 * AT_ONCE, thread_name_prefix="transfer")

    def start(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> asyncio.Future[Result]:
        """Begin to work in one of the threads."""
        return asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*arguments, **options))

    def close(self) -> None:
        """End the threads once they are done."""
        self._threads.shutdown(wait=False, cancel_futures=True)
