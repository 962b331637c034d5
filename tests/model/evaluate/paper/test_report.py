"""Every protocol of the paper through its command on miniature archives, and the report: one page, self-contained."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from model.datasets import Sample
from model.datasets.readers import aflw
from model.evaluate import regions
from model.evaluate.__main__ import PAPER, PROTOCOLS, main
from model.evaluate.paper import fddb, ijba, published
from model.evaluate.report import Outcome, page
from model.evaluate.result import Figure, Plot, Result
from model.evaluate.run import Run
from model.identity import triplets
from model.runtime.pipeline import Analyzer, AnalyzerConfig
from tests.model.evaluate.paper import archive_parts


class Page(HTMLParser):
    """Text of table rows, images' bytes, everything that would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.images, self.fetched, self.tags = [], [], [], []
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        named = dict(attributes)
        if tag == "tr":
            self.rows.append([])
        self._cell = tag in ("td", "th") or (self._cell and tag == "code")
        if tag in ("td", "th"):
            self.rows[-1].append("")
        source = named.get("src") or named.get("href")
        if source and source.startswith("data:image/png;base64,"):
            self.images.append(base64.b64decode(source.partition(",")[2]))
        elif source:
            self.fetched.append(source)

    def handle_endtag(self, tag):
        self._cell = self._cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._cell:
            self.rows[-1][-1] += data

    def row(self, title):
        return next(row for row in self.rows if row and row[0].rstrip(" ↑↓") == title)


def test_the_paper_is_whole():
    """Each figure that a table of the paper names is one that its protocol gives out, beside the paper's value."""
    lines = {(line.protocol, line.figure): line for part in published.PARTS for line in part.lines}
    assert {line.protocol for line in lines.values()} >= set(PAPER)
    assert lines["aflw", "nme"].paper == "2.96"
    assert lines["fotw", "smile_accuracy"].paper == "90.83"
    assert lines["ijba", "tpe_tar_at_far_0.001"].paper == "82.3 (2)"
    assert lines["lap", "error"].paper == "0.293"


def test_a_page_of_figures_by_hand():
    result = Result("aflw", 7, (Figure("nme_0_30", 3.456), Figure("nme", float("nan"))), plots=())
    curve = Result(
        "fddb", 3, (Figure("discrete_at_500", 91.0),), plots=(Plot("roc", "x", "y", {"a": (np.arange(3.0),) * 2}),)
    )
    both = Result("ijba", 9, (Figure("rank_1", 94.5), Figure("rank_1_std", 0.81), Figure("error", 1.0)))
    outcomes = {
        "aflw": Outcome(result, command="python -m model.evaluate aflw"),
        "fddb": Outcome(curve),
        "ijba": Outcome(both),
        "lap": Outcome(None, "no data: data set lap: no folder <here>/lap"),
    }
    for part in published.PARTS:
        for line in part.lines:
            known = outcomes.get(line.protocol)
            if known is not None and known.result is not None:
                names = {f.name for f in known.result.figures}
                if line.figure not in names:
                    filled = (*known.result.figures, Figure(line.figure, 1.0))
                    outcomes[line.protocol] = Outcome(
                        Result(known.result.protocol, 1, filled, plots=known.result.plots)
                    )
    text = page(
        outcomes, "f" * 64, {"preset": "tiny", "tasks": ["age"]}, "2016-11-01", "python -m model.evaluate report"
    )
    shown = Page(text)
    assert shown.row("yaw [0°, 30°]") == ["yaw [0°, 30°] ↓", "3.46", "2.84", "3.93 (HyperFace)"]
    assert shown.row("mean")[1] == "–"
    assert shown.row("rank 1")[1] == "94.50 (0.81)"
    assert shown.row("LAP 2015, error")[1:3] == ["no data", "0.293"]
    assert shown.row("FG-NET, mean absolute error in years")[1] == "no data"
    assert shown.row("lap") == ["lap", "no data: data set lap: no folder <here>/lap", ""]
    assert "<here>" not in text
    assert len(shown.images) == 1
    assert shown.fetched == []
    assert "script" not in shown.tags
    assert "f" * 64 in text
    assert "3 of 4 protocols measured" in text


def check_pictures(images):
    for image in images:
        assert cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR).shape[0] > 100


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_protocol_of_the_paper(whole, sure_checkpoint, tmp_path, monkeypatch, capsys):
    """A network of random weights on drawn faces: no figure means anything, but every one is there."""
    monkeypatch.setattr(aflw, "TEST_PHOTOS", 24)
    monkeypatch.setattr(aflw.read, "__defaults__", (24,))
    monkeypatch.setattr(ijba, "TPE", triplets.Config(steps=20, batch=16))  # twenty embeddings are learnt
    data = tmp_path / "data"
    shutil.copytree(whole, data)
    shutil.rmtree(data / "lap")
    (data / "fotw" / "valid_gt.csv").write_text("image_name\n")
    out, figures = tmp_path / "pages" / "report.html", tmp_path / "figures.json"
    words = [
        "report",
        "--data",
        str(data),
        "--weights",
        str(sure_checkpoint),
        "--out",
        str(out),
        "--json",
        str(figures),
        "--limit",
        "6",
    ]
    assert main(words) == 0
    measured = json.loads(figures.read_text())["results"]
    assert set(measured) == {*PAPER, "lfw"} - {"lap", "fotw"}
    said = capsys.readouterr()
    assert re.search(r"lap +no data: data set lap: no folder", said.err)
    assert re.search(r"fotw +not measured: data set fotw: .*no column bbox_x", said.err)
    assert f"{out}: 8 of {len(PAPER | PROTOCOLS)} protocols measured" in said.out
    shown = Page(out.read_text())
    for part in published.PARTS:
        for line in part.lines:
            ours = shown.row(line.title)[1]
            if line.protocol in measured:
                assert re.fullmatch(r"-?\d+\.\d+( \(\d+\.\d+\))?|–", ours), (line.title, ours)
            else:
                assert ours == ("not measured" if line.protocol == "fotw" else "no data"), line.title
    assert measured["fgnet"]["figures"]["photos_without_face"] == 0
    assert measured["ijba"]["figures"]["faces_without_descriptor"] == 0
    assert measured["lfw"]["figures"]["photos_without_face"] == 0
    assert len(shown.images) >= 6
    check_pictures(shown.images)
    assert shown.fetched == []
    digest = json.loads(figures.read_text())["model"]
    assert digest in out.read_text()
    assert "python -m model.evaluate report --data" in out.read_text()


def test_a_report_of_nothing(sure_checkpoint, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FACE_SHARED_DIR", str(tmp_path / "shared"))
    (tmp_path / "data").mkdir()
    out = tmp_path / "report.html"
    words = ["report", "--data", str(tmp_path / "data"), "--weights", str(sure_checkpoint), "--out", str(out)]
    assert main(words) == 1
    assert f"0 of {len(PAPER | PROTOCOLS)} protocols measured" in capsys.readouterr().out
    shown = Page(out.read_text())
    assert all(shown.row(line.title)[1] == "no data" for part in published.PARTS for line in part.lines)


@pytest.mark.parametrize("name", PAPER)
def test_a_missing_archive_is_named(name, sure_checkpoint, tmp_path, capsys):
    words = [name, "--data", str(tmp_path), "--weights", str(sure_checkpoint), "--engine", "torch"]
    assert main(words) == 1
    assert re.search(rf"data set \w+: no folder {tmp_path}/\w+", capsys.readouterr().err)


@pytest.mark.slow
def test_fddb_by_fold_needs_a_checkpoint_for_each(whole, sure_checkpoint, faceless_checkpoint, tmp_path, capsys):
    folds = tmp_path / "folds"
    folds.mkdir()
    for fold in range(1, 11):
        shutil.copy(sure_checkpoint if fold == 1 else faceless_checkpoint, folds / f"fold-{fold:02d}.safetensors")
    words = ["fddb", "--data", str(whole), "--weights", str(faceless_checkpoint), "--folds", str(folds)]
    assert main(words) == 0
    assert f"`python -m model.evaluate fddb --folds {folds}`" in capsys.readouterr().out
    run = Run(Analyzer(AnalyzerConfig(faceless_checkpoint)), whole, folds=folds)
    digests = [fddb.run_of_fold(run, fold).analyzer.digest for fold in (1, 2, 3)]
    assert digests == [Analyzer(AnalyzerConfig(sure_checkpoint)).digest, run.analyzer.digest, run.analyzer.digest]
    assert fddb.run_of_fold(Run(run.analyzer, whole), 1).analyzer is run.analyzer
    (folds / "fold-04.safetensors").unlink()
    assert main(words) == 1
    assert "no checkpoint at" in capsys.readouterr().err


# --- means over proposals ---


@pytest.fixture(scope="module")
def analyzer(sure_checkpoint):
    return Analyzer(AnalyzerConfig(sure_checkpoint))


def test_the_answer_is_the_mean_over_the_proposals_that_overlap(analyzer, tmp_path):

    archive_parts.photo(tmp_path / "a.png", archive_parts.face_points(0))
    picture = cv2.imread(str(tmp_path / "a.png"), cv2.IMREAD_COLOR_RGB)
    proposals = np.array([[20.0, 20, 80, 80], [25.0, 25, 85, 85], [0.0, 0, 20, 20]], np.float32)
    box = np.float32([[22, 22, 82, 82]])
    (both,) = regions.of_boxes(analyzer, picture, proposals, box)
    singles = [regions.of_boxes(analyzer, picture, proposals[[k]], box)[0] for k in range(2)]
    assert both.proposals == 2
    for name in ("landmarks", "pose", "smile", "female", "age"):
        mean = (getattr(singles[0], name) + getattr(singles[1], name)) / 2
        assert getattr(both, name) == pytest.approx(mean, rel=1e-4, abs=1e-4), name
    assert np.linalg.norm(both.descriptor) == pytest.approx(1, abs=1e-5)
    assert regions.of_boxes(analyzer, picture, proposals[[2]], box) == [None]
    assert regions.of_boxes(analyzer, picture, proposals[:0], box) == [None]


def test_faces_of_one_photo_share_a_pass(analyzer, tmp_path):
    archive_parts.photo(tmp_path / "a.png", archive_parts.face_points(0))
    boxes = [archive_parts.box_of(archive_parts.face_points(0)), np.float32([0, 0, 5, 5])]
    samples = [Sample("x", f"a#{k}", tmp_path / "a.png", "test", box=box) for k, box in enumerate(boxes)]
    found = regions.answers(analyzer, samples, "")
    assert found[1] is None
    with pytest.raises(ValueError, match="no box is marked"):
        regions.answers(analyzer, [Sample("x", "a", tmp_path / "a.png", "test")], "")


def test_a_photo_with_many_faces_is_analysed_once(analyzer, tmp_path, monkeypatch):
    archive_parts.photo(tmp_path / "a.png", archive_parts.face_points(0))
    samples = [Sample("x", f"a#{k}", tmp_path / "a.png", "test") for k in range(5)]
    counts = []
    analyze = analyzer.analyze
    monkeypatch.setattr(analyzer, "analyze", lambda photos, *rest: counts.append(len(photos)) or analyze(photos, *rest))
    assert [a.sample.name for a in Run(analyzer).analyze(samples, "")] == [s.name for s in samples]
    assert counts == [1]
