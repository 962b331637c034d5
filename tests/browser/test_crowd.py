"""The page of faces when a photo shows many: labels, the list, zoom and pan."""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from service.config import Settings
from service.wire import AgeRange, Analysis, AnalysisRequest, AnalysisResult, Box, FaceResult, Pose
from tests.browser.browsing import Page
from tests.service.serving import CARD, MODEL, WORKER, Served, answering, serve
from tests.shipped import save

pytestmark = pytest.mark.slow

SIZE = (800, 600)
FACES = 24


def crowd(request: AnalysisRequest) -> AnalysisResult:
    """Return 24 faces in rows of six that touch each other, the first the largest and the youngest."""
    faces = [
        FaceResult(
            box=Box(20.0 + 120 * (number % 6), 30.0 + 130 * (number // 6), 120.0 - number, 120.0 - number),
            score=0.99 - 0.001 * number,
            pose=Pose(0.0, 0.0, 0.0),
            smile=0.5,
            gender="female",
            female=0.9,
            age=20.0 + number,
            age_range=AgeRange(15.0 + number, 27.0 + number),
            occluded=["mouth"] if number == 1 else [],
        )
        for number in range(FACES)
    ]
    return AnalysisResult(
        request.id, MODEL, Analysis(*SIZE, faces, more=True, faces_seen=40), timings={"decode": 0.001}
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serve(Settings()) as running, answering(running.broker, crowd):
        running.broker.announce(WORKER, CARD)
        yield running


@pytest.fixture
def page(blank: Page, server: Served, tmp_path: Path) -> Page:
    blank.open(server.url)
    blank.choose(save(tmp_path / "crowd.png", np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)))
    blank.answer()
    return blank


COLUMNS = ("Face", "Age", "Gender", "Smile", "Size", "Score")


def column(page: Page, name: str) -> list[str]:
    """Return the texts of one column of the list."""
    return [cell.text for cell in page.all(f"#list-body td:nth-child({COLUMNS.index(name) + 1})")]


def sort_by(page: Page, name: str) -> None:
    """Press the name of a column."""
    page.find(f"#list th:nth-child({COLUMNS.index(name) + 1}) button").click()


def test_many_faces_are_a_list_that_every_column_sorts(page: Page):
    assert page.text("panel-title") == f"{FACES} faces"
    assert page.find("#list").is_displayed()
    assert not page.all(".card")
    assert column(page, "Face") == [str(number + 1) for number in range(FACES)]
    assert column(page, "Age")[0] == "20 (15–27)"
    sort_by(page, "Size")
    assert column(page, "Size")[:2] == ["97 px", "98 px"]
    assert page.find("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    sort_by(page, "Age")
    sort_by(page, "Age")
    assert column(page, "Face") == [str(number) for number in range(FACES, 0, -1)]
    assert page.find("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.find("#view-cards").click()
    assert len(page.all(".card")) == FACES
    assert page.find(".age-range").text == "(most likely 15–27)"
    page.find("#show-details").click()
    assert [part.text for part in page.all(".covered-parts")] == ["Covered or not seen\nmouth"]


def test_faces_that_were_left_out_are_spoken_of(page: Page):
    assert page.text("more-faces") == "The photo shows 40 faces; the 24 largest are shown."


def test_a_row_brings_its_face_out(page: Page):
    page.all(".row-button")[3].click()
    assert page.all(".row-button")[3].get_attribute("aria-pressed") == "true"
    box = page.answer()["faces"][3]["box"]
    assert page.ink(box["x"] + 60, box["y"])[:3] == [255, 216, 77]


def test_labels_cover_no_other_face_and_no_label(page: Page):
    spots: list[dict[str, float] | None] = page.run("""
        const { placeLabels } = await import("/static/labels.js");
        const { faces } = JSON.parse(document.getElementById("json").textContent);
        const corners = ({ x, y, width, height }) => ({ left: x, top: y, right: x + width, bottom: y + height });
        const boxes = faces.map(({ box }) => corners(box));
        const sizes = faces.map(() => ({ width: 26, height: 20 }));
        return placeLabels(boxes, sizes, { left: 0, top: 0, right: args[0], bottom: args[1] });""", *SIZE)  # fmt: skip
    boxes = [face["box"] for face in page.answer()["faces"]]
    faces = [
        {"left": b["x"], "top": b["y"], "right": b["x"] + b["width"], "bottom": b["y"] + b["height"]} for b in boxes
    ]
    placed = [spot for spot in spots if spot]
    assert len(placed) > FACES / 2
    assert not [pair for pair in combinations(placed, 2) if _overlap(*pair)]
    for number, spot in enumerate(spots):
        assert not [other for other in range(FACES) if spot and other != number and _overlap(spot, faces[other])]
    for spot, box in zip(spots, faces, strict=True):
        if spot:  # of its own box no more than a corner
            assert _common(spot, box) <= 0.1 * 26 * 20


def _common(a: dict[str, float], b: dict[str, float]) -> float:
    width = min(a["right"], b["right"]) - max(a["left"], b["left"])
    height = min(a["bottom"], b["bottom"]) - max(a["top"], b["top"])
    return max(width, 0.0) * max(height, 0.0)


def _overlap(a: dict[str, float], b: dict[str, float]) -> bool:
    return _common(a, b) > 1e-6


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_list_is_accessible(page: Page, scheme: str, width: int):
    page.resize(width, 844)
    page.colors(scheme)
    page.find("#show-details").click()
    page.all(".row-button")[1].click()
    assert page.violations() == []
    assert page.run("return document.documentElement.scrollWidth") <= width


def place(page: Page) -> dict[str, Any]:
    """Return how the photo lies in its frame."""
    found: dict[str, Any] = page.run('return { ...(await import("/static/zoom.js")).place }')
    return found


def test_the_photo_zooms_and_moves_with_its_marks(page: Page):
    width = page.find("#frame").size["width"]
    page.find("#zoom-in").click()
    page.find("#zoom-in").click()
    seen = place(page)
    assert seen["zoom"] == pytest.approx(2.25)
    assert seen["x"] == pytest.approx(width / 2 * (1 - 2.25), abs=1), "the middle stays"
    shown = page.run("return document.getElementById('photo').getBoundingClientRect().width")
    assert shown == pytest.approx(2.25 * width, rel=0.01)

    page.all(".row-button")[0].click()  # the face at the left edge comes as near to the middle as the photo reaches
    assert place(page)["x"] == 0
    box = page.answer()["faces"][0]["box"]
    scale = 2.25 * width / SIZE[0]
    row, edge = round((box["y"] + 60) * scale + place(page)["y"]), round(box["x"] * scale)
    assert [255, 216, 77, 255] in page.overlay()[row, edge - 2 : edge + 3].tolist()

    before = place(page)["x"]
    drag = ActionChains(page.driver).move_to_element(page.find("#overlay")).click_and_hold()
    drag.move_by_offset(-80, 0).release().perform()
    assert place(page)["x"] == pytest.approx(before - 80, abs=2)
    assert page.all(".row-button")[0].get_attribute("aria-pressed") == "true", "a drag is no click"
    page.find("#zoom-fit").click()
    assert place(page) == {"zoom": 1, "x": 0, "y": 0}


def test_keys_zoom_and_move(page: Page):
    page.find("#frame").send_keys("+", Keys.ARROW_RIGHT)
    seen = place(page)
    assert seen["zoom"] == pytest.approx(1.5)
    page.find("#frame").send_keys(Keys.ARROW_LEFT)
    assert place(page)["x"] == pytest.approx(seen["x"] + 60)
    page.find("#frame").send_keys("0")
    assert place(page)["zoom"] == 1


def test_a_phone_held_the_other_way_shows_the_same_part(page: Page):
    page.resize(390, 844)
    page.find("#zoom-in").click()
    page.resize(844, 390)
    frame, seen = page.find("#frame").size, place(page)
    assert frame["width"] * (1 - seen["zoom"]) - 1 <= seen["x"] <= 0
    assert frame["height"] * (1 - seen["zoom"]) - 1 <= seen["y"] <= 0
