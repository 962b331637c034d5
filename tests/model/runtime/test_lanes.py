"""Lanes: images shared out to threads, each with networks of its own, give what one thread gives."""

import os
import threading

import numpy as np
import pytest
import skimage.data

from model.boxes import Array
from model.runtime.limits import Limits
from model.runtime.pipeline import Analyzer, AnalyzerConfig, shared_out
from model.structures import Faces

several_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has no lanes")


@pytest.fixture(scope="module")
def analyzer(tiny_checkpoint, tmp_path_factory) -> Analyzer:
    folder = tmp_path_factory.mktemp("converted")
    return Analyzer(AnalyzerConfig(weights=tiny_checkpoint, engine="openvino", cache=folder, threads=2))


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    face = skimage.data.astronaut()[70:150, 180:270]
    return [face, np.zeros((40, 60, 3), np.uint8), face[:, ::-1].copy(), face[:60], face[10:], face[:, 20:]]


@pytest.mark.parametrize("lanes", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 5, 16, 33])
def test_every_image_is_in_one_part_and_large_parts_come_first(count: int, lanes: int):
    parts = [range(count)[part] for part in shared_out(count, lanes)]
    assert [index for part in parts for index in part] == list(range(count))
    sizes = [len(part) for part in parts]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes[:-1], default=2) >= 2
    assert sizes[0] <= max(2, -(-count // lanes))


@pytest.mark.slow
@several_cores
def test_lanes_see_what_one_thread_sees(analyzer: Analyzer, photos: list[np.ndarray]):
    assert len(analyzer.engine.lanes) == 2
    limits = [Limits(max_faces=count) for count in (1, 2, 3, 100, 100, 100)]
    timings: dict[str, float] = {}
    together = analyzer.analyze(photos, limits, timings)
    assert min(timings[stage] for stage in ("propose", "detect", "align", "attributes")) > 0
    for photo, limit, faces in zip(photos, limits, together, strict=True):
        [alone] = analyzer.analyze([photo], limit)
        assert len(faces) == len(alone) <= limit.max_faces
        assert (faces.seen, faces.searched_min_size) == (alone.seen, alone.searched_min_size)
        for name in ("boxes", "scores", "landmarks", "descriptor"):
            np.testing.assert_allclose(getattr(faces, name), getattr(alone, name), atol=1e-2, err_msg=name)
    analyzer.release_memory()
    assert [len(faces) for faces in analyzer.analyze(photos, limits)] == [len(faces) for faces in together]


@pytest.mark.slow
@several_cores
def test_a_lane_that_fails_is_heard_once_all_have_ended(
    analyzer: Analyzer, photos: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
):
    """Also for an IndexError, which must not look like the end of the work, nor an image like one without a face."""
    first, second = analyzer.engine.lanes
    both_work = threading.Barrier(2, timeout=20)
    ended: list[str] = []
    detect = second.detect

    def fail(crops: np.ndarray) -> dict[str, Array]:
        both_work.wait()
        raise IndexError("a fault of the networks")

    def work_on(crops: np.ndarray) -> dict[str, Array]:
        if not ended:
            both_work.wait()
        outputs = detect(crops)
        ended.append("second")
        return outputs

    monkeypatch.setattr(first, "detect", fail)
    monkeypatch.setattr(second, "detect", work_on)
    with pytest.raises(IndexError, match="a fault of the networks"):
        analyzer.analyze([photos[0]] * 4)
    assert ended
    monkeypatch.undo()
    found: list[Faces] = analyzer.analyze([photos[0]] * 4)
    assert len({len(faces) for faces in found}) == 1
    assert len(found[0]) > 0


@pytest.mark.slow
def test_one_thread_has_no_lanes(tiny_checkpoint, photos: list[np.ndarray], tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted")
    config = AnalyzerConfig(weights=tiny_checkpoint, engine="openvino", cache=folder, threads=1)
    analyzer = Analyzer(config)
    assert not analyzer.engine.lanes
    assert len(analyzer.analyze(photos)) == len(photos)
