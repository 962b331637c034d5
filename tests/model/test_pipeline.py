"""The Analyzer on a tiny random checkpoint: contracts that hold whatever the weights; the shipped ones are measured
in tests/test_weights.py."""

import dataclasses
import resource

import numpy as np
import pytest
import skimage.data
import torch

from model import checkpoint, geometry, landmarks, pipeline
from model.checkpoint import CheckpointError
from model.network import AllInOne, NetworkConfig
from model.pipeline import Analyzer, AnalyzerConfig, Detections, Limits
from model.structures import Faces
from tests.conftest import TINY

FIELDS = [field.name for field in dataclasses.fields(Faces)]


@pytest.fixture(scope="module")
def analyzer(tiny_checkpoint):
    return Analyzer(AnalyzerConfig(weights=tiny_checkpoint))


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
        torch.testing.assert_close(a / scale, b / scale, atol=atol, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


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
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    for name in ("scores", "visibility", "smile", "female"):
        assert ((getattr(faces, name) >= 0) & (getattr(faces, name) <= 1)).all()
    assert (faces.age >= 0).all()
    torch.testing.assert_close(faces.descriptor.norm(dim=1), torch.ones(count))
    area = geometry.box_area(faces.boxes)
    assert torch.equal(area, area.sort(descending=True).values)
    torch.testing.assert_close(faces.boxes, geometry.box_from_landmarks(faces.landmarks))


def test_no_images(analyzer):
    assert analyzer.analyze([]) == []
    assert analyzer.analyze([], []) == []


def test_an_image_without_a_face(faceless_checkpoint, photo):
    timings: dict[str, float] = {}
    found = Analyzer(AnalyzerConfig(weights=faceless_checkpoint)).analyze([photo, photo[:50]], timings=timings)
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
    assert faces.boxes.isfinite().all()


def test_a_huge_image_within_memory(analyzer):
    image = np.zeros((8000, 8000, 3), np.uint8)
    image[::2] = 200
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    [faces] = analyzer.analyze([image], Limits(max_faces=1))
    assert len(faces) == 1
    assert faces.boxes.isfinite().all()
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
    [third] = Analyzer(AnalyzerConfig(weights=tiny_checkpoint)).analyze([photo])
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


def test_faces_and_mirror_average(analyzer, photo):
    """The second pass sees the chip and its mirror, so mirroring the chips changes nothing."""
    [faces] = analyzer.analyze([photo], Limits(max_faces=3))
    matrices = geometry.alignment_matrices(faces.landmarks, 150)
    chips = geometry.crop([photo], torch.zeros(len(faces), dtype=torch.int64), matrices, 150)
    with torch.inference_mode():
        plain, mirrored = analyzer.read.network(chips), analyzer.read.network(chips.flip(3))
    female = (plain["gender"].softmax(1)[:, 1] + mirrored["gender"].softmax(1)[:, 1]) / 2
    torch.testing.assert_close(faces.female, female, atol=1e-5, rtol=0)
    unit = torch.nn.functional.normalize
    descriptor = unit(unit(plain["descriptor"]) + unit(mirrored["descriptor"]))
    torch.testing.assert_close(faces.descriptor, descriptor, atol=1e-5, rtol=0)


# --- limits, stages, settings ---


def test_limits(analyzer, photo):
    [all_of_them] = analyzer.analyze([photo], Limits(min_score=0.0))
    [large] = analyzer.analyze([photo], Limits(max_faces=2))
    assert_same(large, analyzer.analyze([photo])[0][:2])
    assert len(analyzer.analyze([photo], Limits(min_score=1.01))[0]) == 0
    assert len(analyzer.analyze([photo], Limits(max_faces=0))[0]) == 0
    side = all_of_them.boxes[:, 2] - all_of_them.boxes[:, 0]
    assert side.min() >= pipeline.MIN_SIZE
    [wide] = analyzer.analyze([photo], Limits(min_size=80))
    assert len(wide) > 0
    assert (wide.boxes[:, 2] - wide.boxes[:, 0] >= 80).all()


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
    assert (info["dtype"], info["device"]) == ("float32", "cpu")
    assert info["parameters"] == sum(p.numel() for p in AllInOne(TINY).parameters())
    assert set(info["tasks"]) == {*TINY.local, *TINY.deep, "identity"}


def test_bfloat16(tiny_checkpoint, photo):
    half = Analyzer(AnalyzerConfig(weights=tiny_checkpoint, dtype="bfloat16"))
    [faces] = half.analyze([photo])
    assert len(faces) > 0
    for name in FIELDS:
        assert getattr(faces, name).dtype == torch.float32
        assert getattr(faces, name).isfinite().all()


def test_selective_search(tiny_checkpoint, photo):
    searching = Analyzer(AnalyzerConfig(weights=tiny_checkpoint, proposals="selective-search"))
    [first], [second] = searching.analyze([photo]), searching.analyze([photo])
    assert len(first) > 0
    assert_same(first, second)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"dtype": "float64"}, "dtype must be one of"),
        ({"dtype": "float16"}, "float16 needs a CUDA device"),
        ({"proposals": "sliding-window"}, "proposals must be"),
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
    return AnalyzerConfig(weights=path)


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


# --- refinement and L-NMS ---


def detections(centres: list[tuple[float, float]], scores: list[float], spread: list[float]) -> Detections:
    """Canonical faces of 100 px at centres; `spread` is added to the pose and divides the visibility."""
    points = torch.from_numpy(landmarks.CANONICAL)[None] * 100 + torch.tensor(centres, dtype=torch.float32)[:, None]
    odd = torch.tensor(spread, dtype=torch.float32)[:, None]
    return Detections(
        torch.zeros(len(scores), dtype=torch.int64),
        geometry.box_from_landmarks(points),
        torch.tensor(scores),
        points,
        torch.ones(len(scores), 21) / (1 + odd),
        odd.expand(-1, 3).clone(),
    )


def test_medians_by_hand(analyzer):
    mine = detections(
        [(0, 0), (4, 0), (8, 6), (300, 0), (302, 0), (6, 0), (5, 1), (-30, 0)],
        [0.9, 0.8, 0.7, 0.95, 0.6, 0.65, 0.66, 0.5],
        [1, 3, 7, 10, 20, 4, 5, 500],
    )
    faces = analyzer._suppress(mine, 0)
    assert faces.scores.tolist() == pytest.approx([0.95, 0.9])
    canonical = torch.from_numpy(landmarks.CANONICAL) * 100
    # Face at 300: two members, the mean of both. Face at 0: its best five, the sixth is left out.
    torch.testing.assert_close(faces.landmarks[0], canonical + torch.tensor([301.0, 0]))
    torch.testing.assert_close(faces.landmarks[1], canonical + torch.tensor([5.0, 0]))
    assert faces.pose[:, 0].tolist() == [15, 4]
    assert faces.visibility[1, 0].item() == pytest.approx(1 / 5)
    torch.testing.assert_close(faces.boxes, geometry.box_from_landmarks(faces.landmarks))
    assert len(analyzer._suppress(mine, 1)) == 0


def test_without_medians_each_face_is_its_best_detection(tiny_checkpoint):
    plain = Analyzer(AnalyzerConfig(weights=tiny_checkpoint, medians=False))
    mine = detections([(0, 0), (4, 0), (300, 0)], [0.8, 0.9, 0.7], [1, 2, 3])
    assert plain._suppress(mine, 0).pose[:, 0].tolist() == [2, 3]


def upright(analyzer: Analyzer, photo: np.ndarray, last: Detections) -> Detections:
    roll = last.pose[:, 0]
    return analyzer._detect([photo], last.image_index, geometry.upright_boxes(last.landmarks, roll), roll)


def test_refinement_follows_the_landmarks(tiny_checkpoint, photo):
    """The tiny network sees its canonical face in the middle of any region, so refining hardly moves anything."""
    refined, plain = (Analyzer(AnalyzerConfig(weights=tiny_checkpoint, refine=on)) for on in (True, False))
    assert len(refined.analyze([photo])[0]) > 0
    assert len(plain.analyze([photo])[0]) > 0
    with torch.inference_mode():
        boxes = torch.tensor([[20.0, 20, 60, 60]])
        first = plain._detect([photo], torch.tensor([0]), boxes)
        rounds = refined._refine([photo], first, torch.tensor([0.2]))
        second = upright(plain, photo, first)
        third = upright(plain, photo, second)
    torch.testing.assert_close(rounds.boxes, torch.cat([second.boxes, third.boxes]))
    torch.testing.assert_close(rounds.scores, torch.cat([second.scores, third.scores]))


def test_a_turned_region_is_the_turned_photo_s_region(tiny_checkpoint):
    """A photo turned by 90° and a region turned with it: the same score, points turned, roll 90° more."""
    analyzer = Analyzer(AnalyzerConfig(weights=tiny_checkpoint))
    photo = blobs(96, 96, 3)
    lying = np.ascontiguousarray(np.rot90(photo, -1))  # clockwise
    box, index = torch.tensor([[20.0, 16, 60, 56]]), torch.tensor([0])
    there = torch.tensor([[96.0 - 56, 20, 96 - 16, 60]])
    with torch.inference_mode():
        first = analyzer._detect([photo], index, box)
        second = analyzer._detect([lying], index, there, torch.tensor([90.0]))
    torch.testing.assert_close(second.scores, first.scores, atol=1e-3, rtol=0)
    moved = torch.stack([96 - first.landmarks[..., 1], first.landmarks[..., 0]], dim=-1)
    torch.testing.assert_close(second.landmarks, moved, atol=0.1, rtol=0)
    torch.testing.assert_close(second.pose - first.pose, torch.tensor([[90.0, 0, 0]]), atol=0.1, rtol=0)


def test_low_scores_are_not_refined(analyzer, photo):
    mine = detections([(0, 0), (300, 0)], [0.19, 0.21], [1, 2])
    with torch.inference_mode():
        assert len(analyzer._refine([photo], mine, torch.tensor([0.2]))) == 2  # two rounds of one
        assert len(analyzer._refine([photo], mine, torch.tensor([0.5]))) == 0


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_landmarks_without_extent_are_no_face(tiny_checkpoint, tmp_path, photo, value):
    """A network gone wrong finds nothing rather than crash."""
    loaded = checkpoint.load(tiny_checkpoint)
    parts = {name: loaded.part(name) for name in ("network", "proposals")}
    for part in ("weight", "bias"):
        parts["network"][f"local_heads.landmarks.2.{part}"].fill_(value)
    checkpoint.save(tmp_path / "odd.safetensors", parts, loaded.config)
    [faces] = Analyzer(AnalyzerConfig(weights=tmp_path / "odd.safetensors")).analyze([photo[:40, :40]])
    assert len(faces) == 0
