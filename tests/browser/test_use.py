"""The page for everybody: keyboard, screen reader, contrast, phones; what is drawn; a server that is busy or away."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from service.config import Settings
from service.errors import ServiceError
from tests.browser.browsing import Page
from tests.service.serving import CARD, WORKER, answering, nothing_found, serve

pytestmark = pytest.mark.slow

LIT = [255, 216, 77, 255]


def test_everything_is_reached_by_keyboard(page: Page, photos: Path):
    page.choose(photos / "astronaut.png", photos / "coffee.jpg")
    page.settled()
    page.run("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    reached = []
    while "json" not in reached and len(reached) < 40:
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        focused = page.driver.switch_to.active_element
        own = focused.get_attribute("id") or focused.get_attribute("class")
        reached.append(own or focused.find_element(By.XPATH, "..").get_attribute("class") or focused.tag_name)
    intake = ["files", "camera-open", "clear"]
    film = ["film-button", "film-remove"] * 2
    stage = ["show-boxes", "show-landmarks", "show-details", "zoom-fit", "zoom-in", "frame"]
    saving = ["save-photo", "save-json", "save-csv"]
    assert reached == ["a", "a", "a", "access-summary", *intake, *film, *stage, "card-button", *saving, "json"]


def test_keys_do_what_clicks_do(page: Page, photos: Path):
    page.choose(photos / "astronaut.png", photos / "coffee.jpg")
    page.settled()
    page.all(".film-button")[1].send_keys(Keys.ENTER)
    assert page.text("panel-title") == "No face"
    page.all(".film-remove")[1].send_keys(Keys.ENTER)
    page.find("#show-boxes").send_keys(Keys.SPACE)
    assert not page.find("#show-boxes").is_selected()
    page.find(".json summary").send_keys(Keys.ENTER)
    assert page.find("#json").is_displayed()


def test_a_card_brings_its_face_out(page: Page, photos: Path):
    page.choose(photos / "astronaut.png")
    box = page.answer()["faces"][0]["box"]
    edge = (box["x"], box["y"] + 0.8 * box["height"])
    button = page.find(".card-button")
    assert page.ink(*edge) != LIT
    ActionChains(page.driver).move_to_element(page.find(".card")).perform()
    assert page.ink(*edge) == LIT
    ActionChains(page.driver).move_to_element(page.find("h1")).perform()
    assert page.ink(*edge) != LIT
    page.run("document.querySelector('.card-button').focus()")
    assert page.ink(*edge) == LIT
    button.send_keys(Keys.ENTER)
    page.run("document.activeElement.blur()")
    assert button.get_attribute("aria-pressed") == "true"
    assert page.ink(*edge) == LIT, "it stays"


def test_a_face_on_the_photo_brings_its_card_out(page: Page, photos: Path):
    page.choose(photos / "astronaut.png")
    box = page.answer()["faces"][0]["box"]
    overlay = page.find("#overlay")
    scale = overlay.size["width"] / 512
    x, y = (box["x"] + box["width"] / 2 - 256) * scale, (box["y"] + box["height"] / 2 - 256) * scale
    ActionChains(page.driver).move_to_element_with_offset(overlay, round(x), round(y)).perform()
    assert "lit" in page.find(".card").get_attribute("class")
    ActionChains(page.driver).click().perform()
    assert page.find(".card-button").get_attribute("aria-pressed") == "true"


def test_every_control_and_picture_has_a_name(page: Page, photos: Path):
    page.choose(photos / "astronaut.png", photos / "cut.png")
    page.settled()
    page.find(".json summary").click()
    page.devtools("Accessibility.enable")
    nodes: list[dict[str, Any]] = page.devtools("Accessibility.getFullAXTree")["nodes"]
    page.devtools("Accessibility.disable")
    roles = {"button", "checkbox", "link", "image", "navigation", "region", "dialog"}
    named = [(n["role"]["value"], n.get("name", {}).get("value", "")) for n in nodes if not n.get("ignored")]
    nameless = [role for role, name in named if role in roles and not name.strip()]
    assert nameless == []
    names = {name for _, name in named}
    assert {
        "Choose photos",
        "Boxes",
        "Landmarks",
        "Details",
        "Zoom in",
        "Face 1",
        "Remove cut.png",
        "Photos",
    } <= names
    ids = page.run("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    assert page.run("return document.documentElement.lang") == "en"
    levels = page.run("return [...document.querySelectorAll('h1, h2, h3')].filter((e) => e.checkVisibility())"
                      ".map((e) => Number(e.tagName[1]))")  # fmt: skip
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_it_is_accessible(page: Page, photos: Path, scheme: str, width: int):
    page.resize(width, 844)
    page.colors(scheme)
    assert page.violations() == []
    page.choose(photos / "astronaut.png", photos / "cut.png")
    page.settled()
    page.find("#show-details").click()
    page.find(".json summary").click()
    page.find("#access-summary").click()
    assert page.violations() == []
    page.run("document.getElementById('access').open = false")
    page.all(".film-button")[1].click()
    assert page.violations() == []


def test_nothing_moves_for_who_asked_for_that(page: Page):
    page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    moving = """
        const moves = (style) => style.animationName !== "none" || parseFloat(style.transitionDuration) > 0;
        return [...document.querySelectorAll("*")].filter((e) => moves(getComputedStyle(e))).length;"""
    assert page.run(moving) == 0
    page.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "no-preference"}])
    assert page.run(moving) > 0


def test_a_phone_shows_all_of_it(page: Page, photos: Path):
    page.resize(390, 844)
    page.choose(photos / "astronaut.png", photos / "coffee.jpg")
    page.settled()
    width, small = page.run("""
        const targets = [...document.querySelectorAll("button, .button, summary, .choices label")];
        const sizes = targets.filter((e) => e.checkVisibility()).map((e) => e.getBoundingClientRect());
        return [document.documentElement.scrollWidth, sizes.filter((r) => r.width < 24 || r.height < 19).length];""")
    assert width == 390
    assert small == 0
    assert page.find("#overlay").size["width"] <= 390
    parts = ".site-name, .site-header nav a, #service, #access-summary"
    middles = page.run("""
        const rects = [...document.querySelectorAll(args[0])].map((e) => e.getBoundingClientRect());
        return rects.map((rect) => (rect.top + rect.bottom) / 2);""", parts)  # fmt: skip
    assert len(middles) == 6
    assert max(middles) - min(middles) < 4, "the head is one line"


def test_hidden_landmarks_are_dimmed(page: Page):
    alphas = page.run("""
        const { drawFaces } = await import("/static/draw.js");
        const context = new OffscreenCanvas(200, 200).getContext("2d", { willReadFrequently: true });
        const landmarks = [...Array(21).keys()].map((i) => ({ name: "", x: 20 + 8 * i, y: i, visibility: 0.9 }));
        Object.assign(landmarks[12], { x: 50, y: 120, visibility: 0.2 });
        Object.assign(landmarks[16], { x: 150, y: 120, visibility: 0.9 });
        drawFaces(context, [{ box: {}, pose: {}, landmarks }], { scale: 1 }, { landmarks: true }, null);
        const most = (x) => Math.max(...context.getImageData(x - 6, 114, 12, 12).data.filter((_, i) => i % 4 === 3));
        return [most(50), most(150)];""")
    assert 0 < alphas[0] < 160
    assert alphas[1] == 255


def test_axes_point_where_the_head_does(page: Page):
    axes = page.run("""
        const { poseAxes } = await import("/static/draw.js");
        return args.map(poseAxes);""",
        {"roll": 0, "pitch": 0, "yaw": 30}, {"roll": 0, "pitch": 30, "yaw": 0}, {"roll": 90, "pitch": 0, "yaw": 0},
    )  # fmt: skip
    right, up, lying = axes
    assert right["z"] == pytest.approx([0.5, 0])
    assert right["x"] == pytest.approx([math.cos(math.radians(30)), 0])
    assert up["z"] == pytest.approx([0, -0.5])
    assert lying["x"] == pytest.approx([0, 1])
    assert lying["y"] == pytest.approx([-1, 0])


def test_every_refusal_of_the_api_has_words_of_its_own(page: Page):
    kinds = [kind for kind in ServiceError.codes.values() if not kind.__module__.startswith("service.http.compat")]
    refusals = [{"code": kind.code, "status": kind.status} for kind in kinds]
    words = page.run("""
        const { Problem } = await import("/static/api.js");
        const { explain } = await import("/static/words.js");
        return args[0].map((refusal) => explain(new Problem(refusal)));""", refusals)  # fmt: skip
    ours = {
        "internal_error",
        "not_found",
        "method_not_allowed",
        "invalid_http",
        "invalid_json",
        "invalid_multipart",
    }  # page's or server's bugs
    vague = {r["code"] for r, w in zip(refusals, words, strict=True) if w["title"] == "The server failed"}
    assert vague <= ours
    assert all(w["advice"].endswith(".") for w in words)


def test_a_busy_server_is_asked_again_when_it_said(blank: Page, photos: Path):
    with serve(Settings(queue_size=1)) as served:
        served.broker.announce(WORKER, CARD)  # a worker that is there and takes its time
        blank.open(served.url)
        with ThreadPoolExecutor(1) as other:  # another client's photo fills the queue
            first = other.submit(served.client.post, "/v1/faces", content=(photos / "coffee.jpg").read_bytes())
            [held] = served.broker.claim(1, 10)
            blank.choose(photos / "astronaut.png")
            blank.until(lambda: "The server is busy; trying again in 1 s" in blank.text("working-text"))
            with answering(served.broker, nothing_found):
                served.broker.finish([nothing_found(held)])
                assert first.result().status_code == 200
                assert blank.answer()["faces"] == []


def test_a_late_answer_can_be_asked_for_again(blank: Page, photos: Path):
    with serve(Settings(timeout=1.5)) as served:
        served.broker.announce(WORKER, CARD)  # a worker that is there and takes its time
        blank.open(served.url)
        blank.choose(photos / "astronaut.png")
        blank.until(lambda: blank.text("panel-title") == "It took too long")
        with answering(served.broker, nothing_found):
            blank.find("#retry").click()
            assert blank.answer()["faces"] == []


def test_a_server_without_worker_and_one_that_is_gone(blank: Page, photos: Path):
    with serve(Settings()) as served:
        blank.open(served.url)
        assert blank.text("service-text") == "The server is not ready"
        blank.resize(390, 844)
        assert blank.find("#service-text").size["width"] > 100, "a phone says it in words, not by a colour alone"
        blank.choose(photos / "astronaut.png")
        blank.until(lambda: "not ready; trying again in 2 s" in blank.text("working-text"))
    blank.until(lambda: blank.text("panel-title") == "The server cannot be reached")
    assert blank.find("#retry").is_displayed()


def test_the_head_says_when_the_server_goes_and_comes_back(page: Page, photos: Path):
    page.devtools("Network.enable")
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.devtools("Network.emulateNetworkConditions", offline=True, **network)
    page.choose(photos / "coffee.jpg")
    page.until(lambda: page.text("service-text") == "The server cannot be reached")
    page.devtools("Network.emulateNetworkConditions", offline=False, **network)
    page.until(lambda: page.text("service-text") == "Ready")
