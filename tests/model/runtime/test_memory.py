"""Memory that is given back: nothing that is still used is lost, and it is really given back."""

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest

from model.runtime import memory
from model.runtime.memory import page_out, trim_heap

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such call")
SIZE = 8 << 20


def resident_bytes(name: str) -> int:
    """How much of a mapped file is in this process' memory."""
    lines = memory.MAPS.with_name("smaps").read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if line.endswith(name)]
    sizes = [next(line for line in lines[start:] if line.startswith("Rss:")) for start in starts]
    return sum(int(line.split()[1]) << 10 for line in sizes)


def test_pages_of_a_mapped_file_go_and_are_read_again(tmp_path: Path):
    path, other = tmp_path / "weights.bin", tmp_path / "other.bin"
    content = np.random.default_rng(0).bytes(SIZE)
    for file in (path, other):
        file.write_bytes(content)
    with path.open("rb") as one, other.open("rb") as two:
        mapped = mmap.mmap(one.fileno(), 0, prot=mmap.PROT_READ)
        kept = mmap.mmap(two.fileno(), 0, prot=mmap.PROT_READ)
        assert mapped[:] == kept[:] == content
        assert resident_bytes(str(path)) == resident_bytes(str(other)) == SIZE
        page_out([path])
        if resident_bytes(str(path)) == SIZE:
            mapped.madvise(memory.PAGE_OUT)
            assert resident_bytes(str(path)) == SIZE, "the system does it, page_out() does not"
            pytest.skip("this file system keeps its pages in memory")
        assert resident_bytes(str(path)) < SIZE / 8
        assert resident_bytes(str(other)) == SIZE
        assert mapped[:] == content


def test_files_that_are_not_mapped_and_systems_without_proc_do_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page_out([tmp_path / "nothing.bin"])
    page_out([])
    monkeypatch.setattr(memory, "MAPS", tmp_path / "none")
    page_out([tmp_path / "nothing.bin"])


def test_trimming_the_heap_keeps_what_is_used():
    array = np.arange(1 << 20)
    trim_heap()
    assert array.sum() == (1 << 20) * ((1 << 20) - 1) // 2
