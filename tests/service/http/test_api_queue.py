"""The API and the workers behind it: none, a stuck one, a full queue, deadlines, callers that leave."""

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from service.config import Settings
from service.wire import Analysis, AnalysisFailure, AnalysisRequest, AnalysisResult
from tests.service.serving import MODEL, Served, answering, b64, is_problem, nothing_found, serve, stuck, until


def depth(served: Served) -> int:
    """Return how many requests are accepted and not finished."""
    return asyncio.run(served.broker.state()).depth


def test_the_single_broken_image_of_a_worker_is_the_callers_problem(tiny_png: bytes) -> None:
    def broken(request: AnalysisRequest) -> AnalysisFailure:
        return AnalysisFailure(request.id, MODEL, "image_broken", "damaged")

    with serve(Settings()) as served, answering(served.broker, broken):
        body = is_problem(served.client.post("/v1/faces", content=tiny_png), 422, "image_broken")
        assert body["detail"] == "damaged"


def test_not_ready_without_a_worker(tiny_png: bytes) -> None:
    with serve(Settings()) as served:
        for answer in (
            served.client.get("/readyz"),
            served.client.get("/v1/model"),
            served.client.post("/v1/faces", content=tiny_png),
        ):
            is_problem(answer, 503, "not_ready")
            assert int(answer.headers["retry-after"]) >= 1
        assert served.client.get("/livez").status_code == 200


def test_deadline_and_full_queue(tiny_png: bytes) -> None:
    with serve(Settings(timeout=1, queue_size=2)) as served:
        stuck(served)
        answers: list[httpx.Response] = []
        post = lambda: answers.append(served.client.post("/v1/faces", content=tiny_png))  # noqa: E731
        crowd = [threading.Thread(target=post) for _ in range(2)]
        for thread in crowd:
            thread.start()
        until(lambda: depth(served) == 2)
        refused = served.client.post("/v1/faces", content=tiny_png)
        is_problem(refused, 429, "queue_full")
        assert answers == [], "a full queue answers at once, and waits for nobody's deadline"
        assert int(refused.headers["retry-after"]) >= 1
        for thread in crowd:
            thread.join()
        for answer in answers:
            is_problem(answer, 504, "deadline_exceeded")
        assert depth(served) == 0, "work nobody waits for was dropped"
        assert 'face_rejected_total{reason="queue_full"} 1.0' in served.client.get("/metrics").text


def test_of_several_images_those_in_time_are_answered(tiny_png: bytes) -> None:
    with serve(Settings(timeout=1)) as served:
        stuck(served)
        done = []

        def first_only() -> None:
            first = served.broker.claim(1, 5)[0]
            served.broker.finish([nothing_found(first)])
            done.append(first)

        thread = threading.Thread(target=first_only)
        thread.start()
        answer = served.client.post("/v1/faces", json={"images": [b64(tiny_png)] * 2})
        thread.join()
        assert answer.status_code == 200
        first, second = answer.json()["images"]
        assert first["faces"] == []
        assert second["error"]["code"] == "deadline_exceeded"


def test_a_client_that_leaves_takes_its_work_with_it(tiny_png: bytes) -> None:
    with serve(Settings()) as served:
        stuck(served)
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            head = f"POST /v1/faces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(tiny_png)}\r\n\r\n"
            connection.sendall(head.encode() + tiny_png)
            until(lambda: depth(served) == 1)
        until(lambda: depth(served) == 0)
        until(lambda: 'status="499"' in served.client.get("/metrics").text)


def test_many_at_once_each_get_their_own(tiny_png: bytes) -> None:
    def named(request: AnalysisRequest) -> AnalysisResult:
        time.sleep(0.002)
        return AnalysisResult(request.id, MODEL, Analysis(request.options.max_faces, 1, []))

    with serve(Settings()) as served, answering(served.broker, named):
        got: dict[int, int] = {}

        def ask(number: int) -> None:
            answer = served.client.post(f"/v1/faces?max_faces={number}", content=tiny_png)
            got[number] = answer.json()["width"]

        crowd = [threading.Thread(target=ask, args=(number,)) for number in range(1, 41)]
        for thread in crowd:
            thread.start()
        for thread in crowd:
            thread.join(30)
        assert got == {number: number for number in range(1, 41)}


def test_who_waits_when_the_time_to_stop_is_over_is_told_to_come_again(tiny_png: bytes) -> None:
    with ThreadPoolExecutor(1) as crowd, httpx.Client(timeout=20, verify=False) as client:
        with serve(Settings(shutdown_grace=1)) as served:
            stuck(served)
            answer = crowd.submit(client.post, f"{served.url}/v1/faces", content=tiny_png)
            until(lambda: asyncio.run(served.broker.state()).depth == 1)
        is_problem(answer.result(), 503, "not_ready")
