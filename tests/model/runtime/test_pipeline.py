"""The Analyzer on a tiny random checkpoint: contracts that hold whatever the weights; the shipped ones are measured
in tests/model/test_weights.py."""

import dataclasses
import resource

import numpy as np
import pytest
import skimage.data
import torch

from model import boxes, checkpoint, warps
from model.checkpoint import CheckpointError
from model.network import AllInOne
from model.presets import NetworkConfig
from model.runtime import pipeline
from model.runtime.limits import Limits
from model.runtime.pipeline import Analyzer, AnalyzerConfig
from model.structures import Faces
from model.tasks import TASKS
from tests.conftest import TINY

FIELDS = [name for name, value in vars(Faces.empty()).items() if isinstance(value, np.ndarray)]


@pytest.fixture(scope="module")
def analyzer(tiny_checkpoint):
    return Analyzer(AnalyzerConfig(weights=tiny_checkpoint, engine="torch"))


@pytest.fixture(scope="module")
def photo():
    return skimage.data.astronaut()[70:150, 180:270]


def blobs(height: int, width: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    return np.ascontiguousarray(small.repeat(8, axis=0).repeat(8, axis=1)[:height, :width])


def assert_same(first: Faces, second: Faces, atol: float = 0.0) -> None:
    assert len(first) == len(second)
    for name in FIELDS:
        a, b = getattr(first, name), getattr(second, name)
        scale = 1.0 if name not in ("boxes", "landmarks", "pose", "age") else 100.0
        np.testing.assert_allclose(a / scale, b / scale, atol=atol, rtol=0, err_msg=name)


# --- what comes out ---


def test_shapes_ranges_and_order(analyzer, photo):
    [faces] = analyzer.analyze([photo])
    count = len(faces)
    assert count > 1
    assert faces.boxes.shape == (count, 4)
    assert faces.landmarks.shape == (count, 21, 2)
    assert faces.visibility.shape == (count, 21)
    assert faces.pose.shape == (count, 3)
    assert faces.descriptor.shape == (count, 512)
    for name in FIELDS:
        value = getattr(faces, name)
        assert value.dtype == np.float32
        assert np.isfinite(value).all()
    for name in ("scores", "visibility", "smile", "female"):
        assert ((getattr(faces, name) >= 0) & (getattr(faces, name) <= 1)).all()
    assert (faces.age >= 0).all()
    np.testing.assert_allclose(np.linalg.norm(faces.descriptor, axis=1), np.ones(count), atol=1e-5)
    assert (np.diff(boxes.area(faces.boxes)) <= 0).all()
    np.testing.assert_allclose(faces.boxes, boxes.from_landmarks(faces.landmarks), atol=1e-4)


def test_no_images(analyzer):
    assert analyzer.analyze([]) == []
    assert analyzer.analyze([], []) == []


def test_an_image_without_a_face(faceless_checkpoint, photo):
    timings: dict[str, float] = {}
    found = Analyzer(AnalyzerConfig(weights=faceless_checkpoint, engine="torch")).analyze(
        [photo, photo[:50]], timings=timings
    )
    assert [len(faces) for faces in found] == [0, 0]
    assert found[0].descriptor.shape == (0, 512)
    assert {"propose", "detect"} <= set(timings)


def test_some_with_and_some_without(analyzer, photo):
    limits = [Limits(), Limits(min_score=1.01), Limits(max_faces=2)]
    first, second, third = analyzer.analyze([photo, photo[:60, :60], photo], limits)
    assert len(first) > 2
    assert len(second) == 0
    assert len(third) == 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 600), (600, 1), (7, 9), (33, 31)])
def test_tiny_and_thin_images(analyzer, shape):
    [faces] = analyzer.analyze([np.full((*shape, 3), 77, np.uint8)])
    assert np.isfinite(faces.boxes).all()


@pytest.mark.slow
def test_a_huge_image_within_memory(analyzer):
    image = np.zeros((8000, 8000, 3), np.uint8)
    image[::2] = 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [faces] = analyzer.analyze([image], Limits(max_faces=1))
    assert len(faces) == 1
    assert np.isfinite(faces.boxes).all()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 700_000  # kB: a few copies of a shrunk image


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((20, 20, 3), np.float32),
        np.zeros((20, 20, 3), np.uint16),
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20, 1), np.uint8),
        np.zeros((0, 20, 3), np.uint8),
        np.zeros((1, 20, 20, 3), np.uint8),
    ],
    ids=lambda image: f"{image.dtype}{image.shape}",
)
def test_other_arrays_are_refused(analyzer, image, photo):
    with pytest.raises(ValueError, match="uint8"):
        analyzer.analyze([photo, image])


def test_a_limit_for_every_image(analyzer, photo):
    with pytest.raises(ValueError, match="2 images but 1 limits"):
        analyzer.analyze([photo, photo], [Limits()])


# --- the same in, the same out ---


def test_it_is_deterministic(analyzer, photo, tiny_checkpoint):
    [first], [second] = analyzer.analyze([photo]), analyzer.analyze([photo])
    assert_same(first, second)
    [third] = Analyzer(AnalyzerConfig(weights=tiny_checkpoint, engine="torch")).analyze([photo])
    assert_same(first, third)


def test_alone_and_in_a_batch(analyzer, photo):
    images = [photo, blobs(40, 64, 1), photo[:60, :50], blobs(40, 64, 2), np.zeros((1, 1, 3), np.uint8), photo]
    for faces, image in zip(analyzer.analyze(images), images, strict=True):
        assert_same(faces, analyzer.analyze([image])[0], atol=1e-4)


def test_the_image_is_left_as_it_was(analyzer, photo):
    before = photo.copy()
    analyzer.analyze([photo])
    np.testing.assert_array_equal(photo, before)


def test_a_view_with_strides_is_an_image(analyzer, photo):
    view = photo[::2, ::-1]
    assert_same(analyzer.analyze([view])[0], analyzer.analyze([np.ascontiguousarray(view)])[0])


def test_the_second_pass_sees_chips_and_for_descriptors_their_mirror_images(analyzer, photo, tiny_checkpoint):
    [faces] = analyzer.analyze([photo], Limits(max_faces=3))
    matrices = warps.alignment_matrices(faces.landmarks, 150)
    chips = warps.crop([photo], np.zeros(len(faces), np.int64), matrices, 150)
    network = checkpoint.build_network(checkpoint.load(tiny_checkpoint))
    with torch.inference_mode():
        plain = network(torch.from_numpy(chips).permute(0, 3, 1, 2))
        mirrored = network(torch.from_numpy(chips[:, :, ::-1].copy()).permute(0, 3, 1, 2))
    np.testing.assert_allclose(faces.female, plain["gender"].softmax(1)[:, 1], atol=1e-5)
    np.testing.assert_allclose(faces.smile, plain["smile"].softmax(1)[:, 1], atol=1e-5)
    np.testing.assert_allclose(faces.age, TASKS["age"].read(plain["age"]).clamp(min=0), atol=1e-3)
    unit = torch.nn.functional.normalize
    descriptor = unit(unit(plain["descriptor"]) + unit(mirrored["descriptor"]))
    np.testing.assert_allclose(faces.descriptor, descriptor, atol=1e-5)


# --- limits, stages, settings ---


def test_limits(analyzer, photo):
    [all_of_them] = analyzer.analyze([photo], Limits(min_score=0.0))
    [large] = analyzer.analyze([photo], Limits(max_faces=2))
    # Two chips in a batch, or all of them: other sums of the same numbers, of which the last digit can differ.
    assert_same(large, analyzer.analyze([photo])[0][:2], atol=1e-6)
    assert len(analyzer.analyze([photo], Limits(min_score=1.01))[0]) == 0
    assert len(analyzer.analyze([photo], Limits(max_faces=0))[0]) == 0
    side = all_of_them.boxes[:, 2] - all_of_them.boxes[:, 0]
    assert side.min() >= pipeline.MIN_SIZE
    [wide] = analyzer.analyze([photo], Limits(min_size=80))
    assert len(wide) > 0
    assert (wide.boxes[:, 2] - wide.boxes[:, 0] >= 80 - 1e-3).all()


def test_timings_add_up(analyzer, photo):
    timings: dict[str, float] = {}
    analyzer.analyze([photo], timings=timings)
    assert set(timings) == {"propose", "detect", "align", "attributes"}
    assert all(seconds > 0 for seconds in timings.values())
    before = dict(timings)
    analyzer.analyze([photo], timings=timings)
    assert all(timings[stage] > before[stage] for stage in before)


def test_info(analyzer, tiny_checkpoint):
    assert analyzer.digest == checkpoint.load(tiny_checkpoint).digest
    info = analyzer.info
    assert (info["preset"], info["input_size"], info["proposals"]) == ("tiny", 150, "dense")
    assert (info["engine"], info["dtype"], info["device"]) == ("torch", "float32", "cpu")
    assert info["precision"] == {"detection": "float32", "identity": "float32"}
    assert info["parameters"] == sum(p.numel() for p in AllInOne(TINY).parameters())
    assert set(info["tasks"]) == {*TINY.local, *TINY.deep, "identity"}


def test_bfloat16(tiny_checkpoint, photo):
    half = Analyzer(AnalyzerConfig(weights=tiny_checkpoint, dtype="bfloat16", engine="torch"))
    [faces] = half.analyze([photo])
    assert len(faces) > 0
    for name in FIELDS:
        assert getattr(faces, name).dtype == np.float32
        assert np.isfinite(getattr(faces, name)).all()


def test_selective_search(tiny_checkpoint, photo):
    searching = Analyzer(AnalyzerConfig(weights=tiny_checkpoint, proposals="selective-search", engine="torch"))
    [first], [second] = searching.analyze([photo]), searching.analyze([photo])
    assert len(first) > 0
    assert_same(first, second)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"dtype": "float64"}, "dtype must be one of"),
        ({"dtype": "float16"}, "float16 needs a CUDA device"),
        ({"proposals": "sliding-window"}, "proposals must be"),
        ({"engine": "tensorflow"}, "engine must be one of auto, openvino, torch"),
        ({"engine": "openvino", "device": "cuda:0"}, "OpenVINO runs on the CPU"),
    ],
)
def test_a_bad_configuration(tiny_checkpoint, config, said):
    with pytest.raises(ValueError, match=said):
        Analyzer(AnalyzerConfig(weights=tiny_checkpoint, **config))


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        Analyzer(AnalyzerConfig(weights=tmp_path / "none.safetensors"))


def save_tiny(path, config: NetworkConfig = TINY, proposals: dict[str, torch.Tensor] | None = None):
    network = AllInOne(config)
    parts = {"network": network.state_dict()} | ({"proposals": proposals} if proposals else {})
    checkpoint.save(path, parts, {"network": checkpoint.network_config(network)})
    return AnalyzerConfig(weights=path, engine="torch")


def test_unfit_weights(tmp_path):
    with pytest.raises(CheckpointError, match="holds no proposals"):
        Analyzer(save_tiny(tmp_path / "a"))
    with pytest.raises(CheckpointError, match="do not fit"):
        Analyzer(save_tiny(tmp_path / "b", proposals={"x": torch.zeros(1)}))
    without = dataclasses.replace(TINY, deep=("gender", "age"))
    with pytest.raises(CheckpointError, match=r"lacks .*smile"):
        Analyzer(save_tiny(tmp_path / "c", without))
    with pytest.raises(CheckpointError, match="lacks an identity branch"):
        Analyzer(save_tiny(tmp_path / "d", dataclasses.replace(TINY, identity=False)))


# --- refinement ---


def test_without_refinement_the_first_look_is_reported(tiny_checkpoint, photo):
    refined, plain = (
        Analyzer(AnalyzerConfig(weights=tiny_checkpoint, engine="torch", refine=on)) for on in (True, False)
    )
    assert len(refined.analyze([photo])[0]) > 0
    assert len(plain.analyze([photo])[0]) > 0


def test_refinement_looks_again_where_the_landmarks_are(analyzer, photo):
    """Its first look again is at the upright box of the landmarks that the first look found."""
    index, region = np.array([0]), np.array([[20.0, 20, 60, 60]], np.float32)
    first = analyzer.first_pass.detect([photo], index, region)
    refined = analyzer.first_pass.refine([photo], first, np.array([0.2]))
    second = analyzer.first_pass.detect([photo], index, *first.next_regions())
    assert len(refined) == (1 if second.settled().all() else 2)
    np.testing.assert_allclose(refined.boxes[:1], second.boxes, atol=1e-4)
    np.testing.assert_allclose(refined.scores[:1], second.scores, atol=1e-5)


def test_a_face_that_moved_is_looked_at_twice(tiny_checkpoint, tmp_path, photo):
    """Landmarks that always lie a tenth of the region to the right never settle: two rounds, then it is over."""
    loaded = checkpoint.load(tiny_checkpoint)
    parts = {name: loaded.part(name) for name in ("network", "proposals")}
    parts["network"]["local_heads.landmarks.2.bias"].view(21, 2)[:, 0] += 0.1
    checkpoint.save(tmp_path / "moving.safetensors", parts, loaded.config)
    analyzer = Analyzer(AnalyzerConfig(weights=tmp_path / "moving.safetensors", engine="torch"))
    first = analyzer.first_pass.detect([photo], np.array([0]), np.array([[20.0, 20, 60, 60]], np.float32))
    refined = analyzer.first_pass.refine([photo], first, np.array([0.2]))
    assert len(refined) == 2
    assert not refined.settled().any()
    assert refined.boxes[0, 0] < refined.boxes[1, 0]


def test_a_turned_region_is_the_turned_photo_s_region(analyzer):
    """A photo turned by 90° and a region turned with it: the same score, points turned, roll 90° more."""
    photo = blobs(96, 96, 3)
    lying = np.ascontiguousarray(np.rot90(photo, -1))  # clockwise
    index = np.array([0])
    first = analyzer.first_pass.detect([photo], index, np.array([[20.0, 16, 60, 56]], np.float32))
    there = np.array([[96.0 - 56, 20, 96 - 16, 60]], np.float32)
    second = analyzer.first_pass.detect([lying], index, there, np.array([90.0], np.float32))
    np.testing.assert_allclose(second.scores, first.scores, atol=1e-3)
    moved = np.stack([96 - first.landmarks[..., 1], first.landmarks[..., 0]], axis=-1)
    np.testing.assert_allclose(second.landmarks, moved, atol=0.1)
    np.testing.assert_allclose(second.pose - first.pose, [[90.0, 0, 0]], atol=0.1)


def test_low_scores_are_not_refined(analyzer, photo):
    regions = np.array([[20.0, 20, 60, 60], [0.0, 0, 40, 40]], np.float32)
    first = analyzer.first_pass.detect([photo], np.array([0, 0]), regions)
    weak = dataclasses.replace(first, scores=np.array([0.19, 0.21], np.float32))
    second = analyzer.first_pass.detect([photo], np.array([0]), *weak[[1]].next_regions())
    rounds = 1 if second.settled().all() else 2
    assert len(analyzer.first_pass.refine([photo], weak, np.array([0.2]))) == rounds
    assert len(analyzer.first_pass.refine([photo], weak, np.array([0.5]))) == 0


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_landmarks_without_extent_are_no_face(tiny_checkpoint, tmp_path, photo, value):
    """A network gone wrong finds nothing rather than crash."""
    loaded = checkpoint.load(tiny_checkpoint)
    parts = {name: loaded.part(name) for name in ("network", "proposals")}
    for part in ("weight", "bias"):
        parts["network"][f"local_heads.landmarks.2.{part}"].fill_(value)
    checkpoint.save(tmp_path / "odd.safetensors", parts, loaded.config)
    config = AnalyzerConfig(weights=tmp_path / "odd.safetensors", engine="torch")
    [faces] = Analyzer(config).analyze([photo[:40, :40]])
    assert len(faces) == 0


# --- what the answer says of itself ---


def test_more_faces_than_were_wanted(analyzer, photo):
    [everyone] = analyzer.analyze([photo])
    [some] = analyzer.analyze([photo], Limits(max_faces=len(everyone) - 1))
    [exactly] = analyzer.analyze([photo], Limits(max_faces=len(everyone)))
    assert (everyone.more, some.more, exactly.more) == (False, True, False)


@pytest.mark.slow
def test_the_size_that_was_searched(analyzer):
    small, large = np.zeros((90, 120, 3), np.uint8), np.zeros((3000, 4000, 3), np.uint8)
    free, asked, wide = Limits(), Limits(min_size=24), Limits(min_size=60)
    found = analyzer.analyze([small, large, large, small], [free, free, asked, wide])
    shrunk = 24 / (2**21 / 12e6) ** 0.5
    assert [faces.searched_min_size for faces in found] == pytest.approx([12, shrunk, 24, 60])


def test_landmarks_outside_the_photo_are_not_visible(analyzer, photo):
    [faces] = analyzer.analyze([photo[:60, :50]])
    outside = ((faces.landmarks < 0) | (faces.landmarks > (50, 60))).any(axis=2)
    assert outside.any()
    assert not faces.visibility[outside].any()
    assert faces.visibility[~outside].any()
