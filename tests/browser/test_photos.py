"""What happens to a photo on the page, against the real service."""

import csv
import json
from io import BytesIO
from pathlib import Path

import cv2
import httpx
import numpy as np
import pillow_heif
import pytest
import skimage.data
from PIL import Image
from selenium.webdriver.common.by import By

from tests.browser.browsing import Page

pytestmark = pytest.mark.slow

EDGE = 0.5  # of a box's side: where its outline is surely drawn


def test_a_photo_gets_its_box_and_card_with_the_values_of_the_api(page: Page, photos: Path, service_url: str):
    page.choose(photos / "astronaut.png")
    shown = page.answer()
    asked = httpx.post(f"{service_url}/v1/faces", content=(photos / "astronaut.png").read_bytes(), timeout=60).json()
    assert {k: v for k, v in shown.items() if k != "timings_ms"} == {
        k: v for k, v in asked.items() if k != "timings_ms"
    }

    [face], [card] = asked["faces"], page.all(".card")
    values = {name: card.find_element(By.CLASS_NAME, name).get_attribute("value") for name in (
        "age", "gender", "gender-share", "smile", "roll", "pitch", "yaw", "score",
    )}  # fmt: skip
    assert values.pop("gender") == face["gender"]
    flat = {"age": face["age"], "gender-share": face["female"], "smile": face["smile"], "score": face["score"]}
    assert {name: float(value) for name, value in values.items()} == flat | face["pose"]
    assert f"{face['age']:.0f} years" in card.text
    assert page.text("file-name") == "astronaut.png"
    assert page.text("panel-title") == "1 face"
    assert f"1 face. Face 1: {face['gender']}" in page.text("announce")
    assert page.find("#photo").get_attribute("alt") == "astronaut.png, 512 × 512 pixels, 1 face"
    assert asked["model"].startswith(page.text("digest"))


def test_details_are_shown_when_they_are_asked_for(page: Page, photos: Path):
    page.choose(photos / "astronaut.png")
    [face] = page.answer()["faces"]
    hidden = sum(mark["visibility"] < 0.5 for mark in face["landmarks"])
    details = (".measures", "#legend", "#timings")
    assert all(page.unseen_by(selector) for selector in details)
    page.find("#show-details").click()
    assert not any(page.unseen_by(selector) for selector in details)
    measures = page.find(".measures").text
    assert f"Points turned away or covered\n{hidden} of 21" in measures
    assert f"Score\n{face['score']:.3f}" in measures
    assert "where the nose points" in page.find("#legend").text
    assert "total" in page.find("#timings").text


def test_each_layer_is_drawn_and_can_be_left_out(page: Page, photos: Path):
    page.choose(photos / "astronaut.png")
    [face] = page.answer()["faces"]
    page.find("#show-details").click()
    box, marks = face["box"], face["landmarks"]
    middle = box["x"] + EDGE * box["width"]
    brow = next(mark for mark in marks if mark["name"] == "left_brow_outer")  # off the pose axes
    nose = next(mark for mark in marks if mark["name"] == "nose_tip")
    assert page.ink(middle, box["y"])[3] == 255
    assert page.ink(brow["x"], brow["y"])[3] > 0
    assert page.ink(nose["x"], nose["y"])[3] == 255
    assert page.ink(500, 500) == [0, 0, 0, 0]

    page.find("#show-boxes").click()
    assert page.ink(middle, box["y"])[3] == 0
    page.find("#show-landmarks").click()
    assert page.ink(brow["x"], brow["y"])[3] == 0
    assert page.ink(nose["x"], nose["y"])[3] == 255
    page.find("#show-details").click()
    assert not page.overlay().any()


def test_the_cut_out_is_the_face(page: Page, photos: Path):
    page.choose(photos / "astronaut.png")
    box = page.answer()["faces"][0]["box"]
    side = round(1.3 * max(box["width"], box["height"]))
    centre = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expected = cv2.getRectSubPix(skimage.data.astronaut(), (side, side), centre)
    assert _difference(_thumb(page), expected) < 6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_turned_by_exif_is_upright_with_its_marks(page: Page, tmp_path: Path, orientation: int):
    upright = skimage.data.astronaut()[:400]
    turns = {3: 2, 6: 1, 8: 3}[orientation]  # anticlockwise quarters that EXIF will undo
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.rot90(upright, turns)).save(tmp_path / "turned.jpg", quality=95, exif=exif)
    page.choose(tmp_path / "turned.jpg")
    answer = page.answer()
    photo = page.find("#photo")
    size = (photo.get_property("naturalWidth"), photo.get_property("naturalHeight"))
    assert size == (answer["width"], answer["height"]) == (512, 400)
    box = answer["faces"][0]["box"]
    assert page.ink(box["x"] + EDGE * box["width"], box["y"])[3] == 255
    side = round(1.3 * max(box["width"], box["height"]))
    expected = cv2.getRectSubPix(upright, (side, side), (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2))
    assert _difference(_thumb(page), expected) < 8


def _thumb(page: Page) -> np.ndarray:
    png = page.run("const blob = await new Promise((r) => document.querySelector('.thumb').toBlob(r));"
                   "return [...new Uint8Array(await blob.arrayBuffer())];")  # fmt: skip
    return np.asarray(Image.open(BytesIO(bytes(png))).convert("RGB"))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference of two images, 0–255, looked at from afar."""
    small = [cv2.resize(image, (16, 16), interpolation=cv2.INTER_AREA).astype(float) for image in (a, b)]
    return float(np.abs(small[0] - small[1]).mean())


def test_a_photo_without_a_face_says_so(page: Page, photos: Path):
    page.choose(photos / "coffee.jpg")
    assert page.answer()["faces"] == []
    assert page.text("panel-title") == "No face"
    assert page.find("#no-face").is_displayed()
    assert not page.find("#tools").is_displayed()


@pytest.mark.parametrize(("name", "title"), [
    ("cut.png", "The photo is damaged"),
    ("letter.png", "Not a photo"),
    ("vast.png", "The photo has too many pixels"),
])  # fmt: skip
def test_a_refused_file_says_why_and_harms_no_other(page: Page, photos: Path, name: str, title: str):
    page.choose(photos / name, photos / "astronaut.png")
    page.settled()
    assert page.text("panel-title") == title
    assert page.find("#problem-advice").is_displayed()
    assert page.text("problem-detail")
    assert page.text("problem-id").startswith("Request ")
    assert not page.find("#retry").is_displayed(), "the same file will be refused again"
    assert [item.get_attribute("data-state") for item in page.all("#film-list li")] == ["failed", "done"]
    page.all(".film-button")[1].click()
    assert len(page.answer()["faces"]) == 1


def test_an_empty_file_is_refused_by_name(page: Page, tmp_path: Path):
    (tmp_path / "empty.png").touch()
    page.choose(tmp_path / "empty.png")
    page.settled()
    assert page.text("panel-title") == "The file is empty"


def test_several_photos_and_the_way_between_them(page: Page, photos: Path):
    page.choose(photos / "astronaut.png", photos / "coffee.jpg", photos / "cut.png")
    page.settled()
    names = [button.accessible_name for button in page.all(".film-button")]
    assert names == ["astronaut.png 1 face", "coffee.jpg No face", "cut.png failed"]
    page.all(".film-button")[1].click()
    assert page.text("panel-title") == "No face"
    assert page.all(".film-button")[1].get_attribute("aria-current") == "true"


def test_a_screen_reader_hears_one_sum_of_several_photos(page: Page, photos: Path):
    page.run("""
        window.heard = [];
        const told = document.getElementById("announce");
        new MutationObserver(() => window.heard.push(told.textContent)).observe(told, { childList: true });""")
    page.choose(photos / "astronaut.png", photos / "coffee.jpg", photos / "cut.png")
    page.settled()
    page.until(lambda: page.run("return window.heard"))
    assert page.run("return window.heard") == ["3 photos finished: 1 face. Failed: cut.png."]


def test_a_format_that_the_browser_cannot_show_leaves_an_empty_sheet(page: Page, photos: Path, tmp_path: Path):
    pillow_heif.from_pillow(Image.fromarray(skimage.data.astronaut())).save(tmp_path / "photo.heic")
    page.choose(tmp_path / "photo.heic", photos / "astronaut.png", photos / "letter.png")
    page.settled()
    assert page.find("#no-preview").is_displayed()
    seen = "return [...document.querySelectorAll('#photo, .film-button img')].map((e) => !e.matches('.unseen'))"
    assert page.run(seen) == [False, True, False, False], "of the film, and of the stage at last"
    assert page.find("#photo").accessible_name == "photo.heic, 512 × 512 pixels, 1 face"
    page.all(".film-button")[1].click()
    page.until(lambda: page.run(seen)[-1])
    page.all(".film-button")[2].click()
    page.until(lambda: page.find("#frame").size["height"] == 0)


def test_removing_a_photo_lets_go_of_it(page: Page, photos: Path):
    page.choose(photos / "astronaut.png", photos / "coffee.jpg")
    page.settled()
    url = page.find("#photo").get_attribute("src")
    readable = """
        const image = new Image();
        image.src = args[0];
        return await image.decode().then(() => true, () => false);"""
    assert page.run(readable, url)
    page.find("#clear").click()
    assert not page.run(readable, url)
    assert not page.find("#work").is_displayed()
    assert page.driver.switch_to.active_element.get_attribute("id") == "files"


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_photos_come_by_paste_and_drop(page: Page, photos: Path, way: str):
    page.transfer("body", way, photos / "astronaut.png")
    assert len(page.answer()["faces"]) == 1


def test_a_photo_from_the_camera(page: Page):
    page.find("#camera-open").click()
    page.until(lambda: page.find("#camera-shoot").is_enabled())
    page.find("#camera-shoot").click()
    page.settled()
    assert page.answer()["width"] == page.find("#photo").get_property("naturalWidth")
    assert page.find("#photo").get_attribute("alt").startswith("camera-")
    assert page.run("return document.getElementById('camera-view').srcObject") is None


def test_an_empty_page_has_an_example(page: Page):
    page.find("#example").click()
    answer = page.answer()
    assert page.text("file-name") == "example.jpg"
    assert page.text("panel-title") == "1 face"
    assert (answer["width"], answer["height"]) == (512, 512)


def test_the_example_is_loaded_once_however_often_it_is_asked_for(page: Page):
    with page.slow_network(300):
        page.run("for (let click = 0; click < 3; click++) document.getElementById('example').click()")
        page.until(lambda: page.all("#film-list li"))
    page.settled()
    assert len(page.all("#film-list li")) == 1


def test_what_was_found_can_be_taken_away(page: Page, photos: Path, tmp_path: Path, service_url: str):
    allowed = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    page.devtools("Browser.grantPermissions", origin=service_url, permissions=allowed)
    page.devtools("Emulation.setFocusEmulationEnabled", enabled=True)
    page.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.choose(photos / "coffee.jpg", photos / "astronaut.png")
    page.settled()
    page.all(".film-button")[1].click()
    answer = page.answer()
    [face] = answer["faces"]

    page.find(".json summary").click()
    page.find("#copy").click()
    page.until(lambda: page.text("copied"))
    assert page.text("copied") == "Copied"
    assert json.loads(page.run("return await navigator.clipboard.readText()")) == answer

    page.find("#save-json").click()
    page.until_downloaded(tmp_path / "astronaut.json")
    assert json.loads((tmp_path / "astronaut.json").read_text()) == answer

    page.find("#save-csv").click()
    page.until_downloaded(tmp_path / "faces.csv")
    [row] = csv.DictReader((tmp_path / "faces.csv").read_text().splitlines())
    assert (row["file"], row["face"], row["gender"]) == ("astronaut.png", "1", face["gender"])
    numbers = {name: face[name] for name in ("score", "age", "female", "smile")} | face["pose"] | face["box"]
    assert {name: float(row[name]) for name in numbers} == numbers

    page.find("#save-photo").click()
    page.until_downloaded(tmp_path / "astronaut-faces.jpg")
    saved = np.asarray(Image.open(tmp_path / "astronaut-faces.jpg"))
    before, box = skimage.data.astronaut(), face["box"]
    middle, top = round(box["x"] + EDGE * box["width"]), round(box["y"])
    assert saved.shape == before.shape
    assert saved[top - 2 : top + 3, middle].min(axis=1).max() > 200, "the box is drawn"
    assert np.abs(saved[400:].astype(int) - before[400:]).mean() < 6, "the rest is the photo"


def test_names_of_files_cannot_be_formulas(page: Page, photos: Path, tmp_path: Path):
    name = '=1+1,"x".png'
    (tmp_path / name).write_bytes((photos / "astronaut.png").read_bytes())
    page.devtools("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.choose(tmp_path / name)
    page.answer()
    page.find("#save-csv").click()
    page.until_downloaded(tmp_path / "faces.csv")
    [row] = csv.DictReader((tmp_path / "faces.csv").read_text().splitlines())
    assert row["file"] == f"'{name}"
