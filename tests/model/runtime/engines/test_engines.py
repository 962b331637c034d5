"""OpenVINO against PyTorch: the same faces, batches of any size, and what lies in the cache."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import sklearn.datasets

from model import checkpoint, chip_geometry, warps
from model.checkpoint_file import read_checkpoint_file
from model.chip_geometry import ChipGeometry
from model.network import AllInOne
from model.presets import PRESETS
from model.proposal_network import ProposalNetwork
from model.runtime.engines import conversion
from model.runtime.engines.openvino import BATCHES
from model.runtime.engines.protocol import DESCRIBE, DETECT, GEOMETRY, SECOND
from model.runtime.pipeline import Analyzer, AnalyzerConfig
from model.shared_heads import CELLS, PART, SharedHeads
from model.structures import Faces

pytestmark = pytest.mark.slow  # a conversion takes some five seconds
CENT = {"boxes", "landmarks", "pose", "age"}
"""Figures in pixels, degrees and years: held to a thousandth of a hundred of them."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("converted")


def configured(weights: Path | None, engine: str, folder: Path, dtype: str = "float32") -> AnalyzerConfig:
    return AnalyzerConfig(weights=weights, engine=engine, dtype=dtype, cache=folder)


def crops(count: int, size: int = 150) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def assert_same_faces(first: Faces, second: Faces) -> None:
    assert len(first) == len(second)
    for name, value in vars(first).items():
        if isinstance(value, np.ndarray):
            tolerance = 0.1 if name in CENT else 1e-3
            np.testing.assert_allclose(value, getattr(second, name), atol=tolerance, rtol=0, err_msg=name)


def test_both_engines_see_the_same_faces(folder: Path):
    photos = [skimage.data.astronaut(), *sklearn.datasets.load_sample_images().images]
    """As the service runs by default against PyTorch in float32: a template means the same on every machine."""
    ours = Analyzer(configured(None, "openvino", folder, "auto"))
    theirs = Analyzer(configured(None, "torch", folder))
    assert (ours.info["engine"], theirs.info["engine"]) == ("openvino", "torch")
    for first, second in zip(ours.analyze(photos), theirs.analyze(photos), strict=True):
        assert_same_faces(first, second)
        assert ((first.descriptor * second.descriptor).sum(axis=1) > 0.9999).all()
    assert len(ours.analyze(photos[:1])[0]) == 1


@pytest.mark.parametrize("engine", ["openvino", "torch"])
def test_memory_that_is_given_back_changes_no_answer(engine: str, folder: Path):
    photo = skimage.data.astronaut()
    analyzer = Analyzer(configured(None, engine, folder))
    before = analyzer.analyze([photo, photo[:300, :400]])
    analyzer.release_memory()
    for first, second in zip(before, analyzer.analyze([photo, photo[:300, :400]]), strict=True):
        assert_same_faces(first, second)
    analyzer.release_memory()


def test_identity_is_the_same_in_each_precision(folder: Path):
    """The same chips: a template means the same on every machine."""
    config = [configured(None, *pair) for pair in (("openvino", folder, "auto"), ("torch", folder, "float32"))]
    ours, theirs = (Analyzer(one).second_pass(crops(5, 112))["descriptor"] for one in config)
    assert ((ours * theirs).sum(axis=1) > 0.9999).all()


def test_a_glance_tells_nearly_what_a_look_does(folder: Path):
    photo = skimage.data.astronaut()
    analyzer = Analyzer(configured(None, "openvino", folder, "auto"))
    offered = np.concatenate([analyzer.propose(photo).boxes, [[180, 60, 270, 150], [0, 300, 200, 500]]])
    cut = warps.crop([photo], np.zeros(len(offered), int), warps.region_matrices(offered, 112), 112)
    looked = analyzer.engine.detect(cut)["detection"]
    assert looked.min() < 0.01 < 0.99 < looked.max()
    for count in (1, len(cut)):
        np.testing.assert_allclose(analyzer.engine.glance(cut[:count]), looked[:count], atol=0.1)
        analyzer.release_memory()
    assert not Analyzer(configured(None, "openvino", folder, "float32")).engine.glances


@pytest.mark.parametrize("preset", [name for name in ("residual", "mobile") if name in PRESETS])
def test_every_preset_of_random_weights(preset: str, tmp_path: Path, folder: Path):
    network = AllInOne(PRESETS[preset]).eval()
    parts = {"network": checkpoint.inference_state(network), "proposals": ProposalNetwork().state_dict()}
    second: tuple[str, ...] = ()
    of_chips: tuple[str, ...] = ()
    if preset == "mobile":
        channels = network.config.channels
        heads = SharedHeads(512 + CELLS**2 * channels[5], network.config.ages, channels[4:6])
        geometry = ChipGeometry((channels[2], channels[4]))
        parts |= {PART: heads.state_dict(), chip_geometry.PART: geometry.state_dict()}
        second = tuple(SECOND.values())
        of_chips = GEOMETRY
    path = tmp_path / "random.safetensors"
    checkpoint.save(path, parts, {"network": checkpoint.network_config(network), "preset": preset})
    ours, theirs = (Analyzer(configured(path, engine, folder)).engine for engine in ("openvino", "torch"))
    some = crops(3, PRESETS[preset].input_size)
    for found, expected, names in (
        (ours.detect(some), theirs.detect(some), DETECT),
        (
            ours.describe(some),
            theirs.describe(some),
            (*DESCRIBE, *of_chips, *second),
        ),
        (ours.mirror(some), theirs.mirror(some), ("descriptor", *second)),
    ):
        assert set(found) == set(expected) == set(names)
        for name in names:
            scale = max(float(np.abs(expected[name]).max()), 1.0)
            np.testing.assert_allclose(found[name] / scale, expected[name] / scale, atol=1e-3, err_msg=name)


def test_any_number_of_crops_is_read_as_if_each_were_alone(tiny_checkpoint: Path, folder: Path):
    engine = Analyzer(configured(tiny_checkpoint, "openvino", folder)).engine
    for count in (1, 3, max(BATCHES), 2 * max(BATCHES) + 3):
        some = crops(count)
        for read in (engine.describe, engine.mirror):
            together, alone = read(some), read(some[-1:])
            for name, values in together.items():
                assert len(values) == count
                np.testing.assert_allclose(values[-1:], alone[name], atol=1e-4, rtol=1e-4)


def test_the_proposer_is_the_same(tiny_checkpoint: Path, folder: Path):
    batches = [crops(2, 64), np.random.default_rng(2).integers(0, 256, (1, 96, 160, 3), dtype=np.uint8)]
    ours, theirs = (Analyzer(configured(tiny_checkpoint, engine, folder)).engine for engine in ("openvino", "torch"))
    for found, expected in zip(ours.propose(batches), theirs.propose(batches), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_second_start_converts_nothing_and_imports_no_pytorch(tiny_checkpoint: Path, folder: Path):
    Analyzer(configured(tiny_checkpoint, "auto", folder))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.bin")}
    program = (
        "import sys, pathlib, numpy; from model.runtime.pipeline import Analyzer, AnalyzerConfig\n"
        "weights, cache = map(pathlib.Path, sys.argv[1:])\n"
        "analyzer = Analyzer(AnalyzerConfig(weights=weights, cache=cache))\n"
        "analyzer.analyze([numpy.zeros((64, 64, 3), numpy.uint8)])\n"
        "sys.exit('torch' in sys.modules)"
    )
    words = [sys.executable, "-c", program, str(tiny_checkpoint), str(folder)]
    subprocess.run(words, check=True, cwd=Path(checkpoint.__file__).parents[1])
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.bin")} == before


def test_a_damaged_cache_is_made_anew(tiny_checkpoint: Path, tmp_path: Path):
    Analyzer(configured(tiny_checkpoint, "openvino", tmp_path))
    for path in tmp_path.rglob("*.xml"):
        path.write_text("<net")
    Analyzer(configured(tiny_checkpoint, "openvino", tmp_path))
    assert all(path.read_text() != "<net" for path in tmp_path.rglob("*.xml"))
    assert not list(tmp_path.glob("partial-*"))


def test_a_folder_that_cannot_be_written_still_gives_an_engine(tiny_checkpoint: Path, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    analyzer = Analyzer(configured(tiny_checkpoint, "openvino", tmp_path / "file"))
    assert analyzer.info["engine"] == "openvino"


def test_weights_that_do_not_fit_are_named_as_such(tiny_checkpoint: Path, tmp_path: Path):
    loaded = checkpoint.load(tiny_checkpoint)
    parts = {"network": loaded.part("network"), "proposals": {"odd": loaded.part("proposals")["out.bias"]}}
    checkpoint.save(tmp_path / "odd.safetensors", parts, loaded.config)
    with pytest.raises(checkpoint.CheckpointError, match="proposal network's weights do not fit"):
        Analyzer(configured(tmp_path / "odd.safetensors", "auto", tmp_path))


def test_processes_that_convert_at_once_take_what_the_first_made(tiny_checkpoint: Path, tmp_path: Path) -> None:
    file = read_checkpoint_file(tiny_checkpoint)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(conversion.converted, file, tmp_path, "1") for _ in range(2)]
        folder = next(as_completed(both)).result()
        made = folder.stat().st_ino
    assert [each.result() for each in both] == [folder, folder]
    assert folder.stat().st_ino == made
    assert list(tmp_path.iterdir()) == [folder]
