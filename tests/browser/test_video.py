"""A video on the page of faces: its faces followed, each brought out where it is seen best."""

from fractions import Fraction
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
import skimage.data
from selenium.webdriver.common.by import By

from tests.browser.browsing import Page
from tests.browser.test_people import enrol, names, search

pytestmark = pytest.mark.slow

SIDE = 320


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of a face that moves to the right."""
    return walk(tmp_path_factory.mktemp("clip") / "walk.webm", rate=10)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty seconds of it, in slow motion."""
    return walk(tmp_path_factory.mktemp("clip") / "slowly.webm", rate=Fraction(1, 2))


def walk(path: Path, rate: int | Fraction) -> Path:
    photo = skimage.data.astronaut()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libvpx", rate=rate)
        stream.width, stream.height, stream.pix_fmt = SIDE, SIDE, "yuv420p"
        for step in range(20):
            left = 100 - 5 * step
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(photo[:SIDE, left : left + SIDE]), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_faces_of_a_video_are_followed(page: Page, clip: Path):
    page.choose(clip)
    answer = page.answer()
    track = answer["tracks"][0]  # of the largest face
    assert page.text("file-name") == "walk.webm"
    assert page.text("panel-title").startswith(str(len(answer["tracks"])))
    assert f"Face 1: from {track['first']:.1f}" in page.text("announce")
    assert page.unseen_by("#frame, #tools, #save-photo, #cards .card")
    item = page.all("#tracks li")[0]
    assert f"to {track['last']:.1f} s" in item.text
    assert page.violations() == []

    item.find_element(By.TAG_NAME, "button").click()
    page.until(lambda: abs(page.find("#clip-view").get_property("currentTime") - track["best"]["time"]) < 0.06)
    page.until(lambda: page.run("return document.getElementById('clip-view').readyState") >= 2)
    box = track["best"]["box"]
    marked = """
        const overlay = document.getElementById("clip-overlay");
        const scale = Math.min(overlay.width / args[0], overlay.height / args[1]);
        const left = (overlay.width - args[0] * scale) / 2;
        const top = (overlay.height - args[1] * scale) / 2;
        const { data } = overlay.getContext("2d").getImageData(left + args[2] * scale - 2, top + args[3] * scale, 5, 1);
        return Math.max(...data.filter((_, i) => i % 4 === 3));"""
    middle = box["y"] + box["height"] / 2
    page.until(lambda: page.run(marked, answer["width"], answer["height"], box["x"], middle) == 255)

    page.find("#clear").click()
    assert not page.find("#clip-view").get_attribute("src")


def test_a_long_video_is_followed_by_a_job(page: Page, long_clip: Path):
    page.choose(long_clip)
    page.until(lambda: "long video" in page.find("body").text)
    answer = page.answer()
    assert answer["tracks"][0]["last"] > 30
    assert len(page.all("#tracks li")) == len(answer["tracks"])
    assert f"to {answer['tracks'][0]['last']:.1f} s" in page.text("announce")
    assert page.violations() == []


def test_a_person_is_enrolled_and_searched_by_a_video(blank: Page, service_url: str, clip: Path):
    assert httpx.put(f"{service_url}/v1/collections/films", timeout=60).status_code in (200, 201)
    blank.open(f"{service_url}/people")
    blank.until(lambda: blank.text("listed"))
    assert "Enrolled, quality" in enrol(blank, "Eileen", clip)
    assert names(blank) == ["Eileen"]
    blank.until(lambda: blank.find("#enrol .entry video").get_property("videoWidth") == SIDE)
    assert "Most likely Eileen" in search(blank, clip)
    blank.until(lambda: blank.find("#search .tile video").get_property("videoWidth") == SIDE)
    blank.until(lambda: blank.find("#search .group-video video").get_property("readyState") >= 2)
    assert blank.unseen_by("#search .face-box")
    assert blank.violations() == []
