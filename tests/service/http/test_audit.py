"""The audit log: a chain that shows every change, files of bounded size, and nobody's noise."""

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.config import Settings
from service.gallery.resources import Resources, open_keys
from service.http.audit import FILE, AuditLog, files, verify
from tests.service.serving import serve


def log(folder: Path, max_bytes: int = 1 << 20, max_files: int = 16) -> AuditLog:
    return AuditLog(folder, Resources(Settings(data_dir=folder)), max_bytes, max_files)


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for path in files(folder) for line in path.read_text().splitlines()]


def test_a_log_is_whole_and_every_change_shows(tmp_path: Path) -> None:
    audit = log(tmp_path)
    for number in range(5):
        audit.write(None, None, action="GET /v1/keys", status=200 + number)
    assert (verify(tmp_path).lines, verify(tmp_path).broken, verify(tmp_path).complete) == (5, None, True)
    whole = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    attacks = {
        "changed": [*whole[:2], whole[2].replace(b"202", b"403"), *whole[3:]],
        "taken out": [*whole[:2], *whole[3:]],
        "put in": [*whole[:2], whole[1], *whole[2:]],
        "exchanged": [whole[0], whole[2], whole[1], *whole[3:]],
        "the first taken out": whole[1:],
        "no JSON": [*whole[:2], b"none\n", *whole[2:]],
    }
    for name, changed in attacks.items():
        (tmp_path / FILE).write_bytes(b"".join(changed))
        assert verify(tmp_path).broken, name


def test_files_are_put_aside_by_size_and_the_chain_goes_on(tmp_path: Path) -> None:
    audit = log(tmp_path, max_bytes=2000, max_files=3)
    for number in range(100):
        audit.write(None, None, action="x", status=number)
    assert len(files(tmp_path)) == 4
    assert all(path.stat().st_size < 2300 for path in files(tmp_path))
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in files(tmp_path))
    result = verify(tmp_path)
    assert (result.broken, result.complete) == (None, False)  # the oldest were deleted
    assert [line["status"] for line in lines(tmp_path)][-1] == 99
    files(tmp_path)[1].unlink()
    assert verify(tmp_path).broken


def test_several_processes_and_threads_write_one_chain(tmp_path: Path) -> None:
    logs = [log(tmp_path, max_bytes=3000) for _ in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: logs[number % 4].write(None, None, action="x", status=number), range(80)))
    assert sorted(line["status"] for line in lines(tmp_path)) == list(range(80))
    assert verify(tmp_path).broken is None


def test_the_command_tells_whether_the_log_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACE_DATA_DIR", str(tmp_path))
    command = [sys.executable, "-m", "service", "audit", "verify"]
    asyncio.run(log(tmp_path).append(None, None, action="x", status=200))
    whole = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (whole.returncode, "1 lines are whole" in whole.stdout) == (0, True)
    (tmp_path / FILE).write_text((tmp_path / FILE).read_text().replace("200", "201"))
    broken = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (broken.returncode, "audit.jsonl, line 1" in broken.stdout) == (1, True)


def test_strangers_fill_no_disk_and_refused_callers_are_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, api_keys="on")
    with open_keys(settings) as ring:
        weak, token = ring.create("door", ["analyze"])
        wrong = token[:-1] + ("A" if token[-1] != "A" else "Q")
        slow, slow_token = ring.create("slow", ["admin"], 0.01, 1)
    with serve(settings) as served:
        for _ in range(50):
            assert served.client.post("/v1/compare").status_code == 401
            assert served.client.get("/v1/keys", headers={"X-API-Key": wrong}).status_code == 401
        assert not (tmp_path / FILE).exists()
        assert 'face_rejected_total{reason="unauthorized"} 100.0' in served.metrics.render().decode()
        served.client.get("/v1/keys", headers={"X-API-Key": token})
        served.client.get("/v1/keys", headers={"X-API-Key": slow_token})
        served.client.get("/v1/keys", headers={"X-API-Key": slow_token})
        served.client.post("/v1/faces", headers={"X-API-Key": token})
        served.client.get("/v1/jobs/none", headers={"X-API-Key": token})
    written = [(line["key"], line["status"], line["action"]) for line in lines(tmp_path)]
    assert written == [
        (weak.id, 403, "GET /v1/keys"),
        (slow.id, 200, "GET /v1/keys"),
        (slow.id, 429, "GET /v1/keys"),
        (weak.id, 503, "POST /v1/faces"),
        (weak.id, 404, "GET /v1/jobs/{job_id}"),
    ]


def test_without_keys_analysis_is_not_written_and_the_gallery_is(tmp_path: Path) -> None:
    with serve(Settings(data_dir=tmp_path)) as served:
        served.client.post("/v1/faces")
        served.client.get("/v1/jobs/none")
        served.client.get("/v1/collections")
    assert [(line["key"], line["action"]) for line in lines(tmp_path)] == [(None, "GET /v1/collections")]
