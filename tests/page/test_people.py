"""The page of people in a browser: compare, enrol from several photos, search, forget; keyboard, names, keys."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from service.__main__ import main
from service.config import Settings
from tests.identity.served import people_served, photo
from tests.page.browsing import Page
from tests.page.test_use import CONTRAST
from tests.service.serving import Served

ADA, BOB, EVE = 1, 2, 3


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path / "data")) as running:
        yield running


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Photos as files: ada1.png, ada2.png, bob1.png, eve1.png, nobody.png, blurred.png."""
    for name, who in (("ada", ADA), ("bob", BOB), ("eve", EVE)):
        for take in (1, 2, 3):
            (tmp_path / f"{name}{take}.png").write_bytes(photo(who, take=take))
    (tmp_path / "nobody.png").write_bytes(photo())
    (tmp_path / "blurred.png").write_bytes(photo(ADA, take=4, quality=0.1))
    return tmp_path


@pytest.fixture
def people(blank: Page, server: Served) -> Page:
    blank.driver.get(f"{server.url}/people")
    blank.until(lambda: blank.text("service-text") == "Ready")
    blank.run("sessionStorage.clear()")
    return blank


def give(page: Page, selector: str, *photos: Path) -> None:
    page.find(selector).send_keys("\n".join(map(str, photos)))


def outcome(page: Page, form: str) -> str:
    page.until(lambda: page.find(f"{form} .outcome").text not in ("", "Working …"))
    return page.find(f"{form} .outcome").text


def enrol(page: Page, name: str, *photos: Path) -> str:
    page.find("#name").clear()
    page.find("#name").send_keys(name)
    give(page, "#photos", *photos)
    page.find("#enrol button").click()
    return outcome(page, "#enrol")


@pytest.mark.parametrize(("second", "matched"), [("ada2.png", True), ("eve1.png", False)])
def test_two_photos_are_compared_and_the_scale_shows_it(people: Page, album: Path, second: str, matched: bool):
    give(people, "#first", album / "ada1.png")
    give(people, "#second", album / second)
    people.find("#compare button").click()
    words = outcome(people, "#compare")
    assert words.startswith("Most likely one person" if matched else "Not taken for one person")
    scale = people.find("#compare .scale")
    said = scale.get_attribute("aria-label")
    assert scale.get_attribute("role") == "img"
    assert said.startswith("Similarity ")
    for rate in ("1 in 100", "1 in 1,000", "1 in 10,000"):
        assert rate in said
    # the dot lies right of the mark of 1 in 1,000 if and only if they match, and the marks lie in their order
    left = "return [...args[0].querySelectorAll(args[1])].map((e) => e.getBoundingClientRect().left)"
    (dot,) = people.run(left, scale, ".value")
    marks = people.run(left, scale, ".mark")
    assert marks == sorted(marks)
    assert (dot >= marks[1]) is matched
    box = scale.rect
    assert box["x"] <= dot <= box["x"] + box["width"]


def test_enrol_search_forget(people: Page, album: Path, server: Served):
    assert "2 of 2 photos enrolled" in enrol(people, "Ada <b>Lovelace", album / "ada1.png", album / "ada2.png")
    assert "1 of 2 photos enrolled\nnobody.png: No face was found" in enrol(
        people, "Bob", album / "bob1.png", album / "nobody.png"
    )
    assert "too blurred" in enrol(people, "Eve", album / "blurred.png")
    listed = [item.text for item in people.all("#subjects li")]
    assert sorted(listed) == ["Ada <b>Lovelace\n2 photos\nForget", "Bob\n1 photo\nForget"]

    give(people, "#probe", album / "ada3.png")
    people.find("#search button").click()
    assert outcome(people, "#search").startswith("Most likely Ada <b>Lovelace")
    assert len(people.all("#search .matches .scale")) == 2
    give(people, "#probe", album / "eve1.png")
    people.find("#search button").click()
    people.until(lambda: outcome(people, "#search").startswith("Nobody who is enrolled here"))

    people.find("[aria-label='Forget Bob']").click()
    assert "Bob" in people.text("forget-who")
    people.find("#forget button[value='']").click()
    assert len(people.all("#subjects li")) == 2
    people.find("[aria-label='Forget Bob']").click()
    people.find("#forget button[value=forget]").click()
    people.until(lambda: "Forgotten, receipt" in people.text("opened"))
    assert [item.get_attribute("textContent") for item in people.all("#subjects li span:first-child")] == [
        "Ada <b>Lovelace"
    ]
    assert server.client.get("/v1/collections/people/subjects/Bob").status_code == 404


def test_a_long_list_is_shown_in_parts(people: Page, server: Served):
    server.client.put("/v1/collections/crowd")
    for number in range(53):
        server.client.put(f"/v1/collections/crowd/subjects/p{number}")
    people.find("#collection").clear()
    people.find("#collection").send_keys("crowd", Keys.ENTER)
    people.until(lambda: len(people.all("#subjects li")) == 50)
    people.find("#more").click()
    people.until(lambda: len(people.all("#subjects li")) == 53)
    assert not people.find("#more").is_displayed()


def test_everything_is_reached_and_named(people: Page, server: Served):
    server.client.put("/v1/collections/people")
    server.client.put("/v1/collections/people/subjects/Ada")
    people.run("document.querySelector('#open').requestSubmit()")
    people.until(lambda: people.all("#subjects li"))
    reached = []
    while len(reached) < 25 and (not reached or "Forget Ada" not in reached):
        ActionChains(people.driver).send_keys(Keys.TAB).perform()
        focused = people.driver.switch_to.active_element
        reached.append(focused.accessible_name)
    fields = ["First photo", "Second photo", "Compare", "Collection", "Open"]
    rest = ["Name", "Photos, several are better", "Enrol", "Photo", "Search", "Forget Ada"]
    assert [name.split(":")[0].strip() for name in reached] == ["Faces", "People", "API", *fields, *rest]
    assert [
        e.get_attribute("aria-live") for e in people.all("#compare .outcome, #enrol .outcome, #search .outcome")
    ] == ["polite"] * 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(people: Page, album: Path, scheme: str):
    people.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    enrol(people, "Ada", album / "ada1.png", album / "nobody.png")
    give(people, "#probe", album / "ada2.png")
    people.find("#search button").click()
    outcome(people, "#search")
    assert [(text, round(ratio, 2)) for text, ratio in people.run(CONTRAST) if ratio < 4.5] == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_window(people: Page, album: Path, width: int):
    people.resize(width, 800)
    enrol(people, "A" * 90, album / "ada1.png")
    give(people, "#first", album / "ada1.png")
    give(people, "#second", album / "ada2.png")
    people.find("#compare button").click()
    outcome(people, "#compare")
    assert people.run("return document.documentElement.scrollWidth") <= width


def test_a_key_is_asked_for_and_used(
    blank: Page, tmp_path: Path, album: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FACE_DATA_DIR", str(tmp_path / "data"))
    with pytest.raises(SystemExit):
        main(["keys", "create", "page", "--role", "admin"])
    key = capsys.readouterr().out.strip()
    with people_served(Settings(data_dir=tmp_path / "data", api_keys="on")) as server:
        blank.driver.get(f"{server.url}/people")
        blank.until(lambda: blank.text("service-text") == "Ready")
        blank.run("sessionStorage.clear()")
        assert "An API key is needed" in enrol(blank, "Ada", album / "ada1.png")
        assert blank.driver.switch_to.active_element.get_attribute("id") == "key"
        blank.find("#key").send_keys(key, Keys.ENTER)
        blank.until(lambda: "1 of 1 photo enrolled" in blank.find("#enrol .outcome").text)
        assert not blank.find("#key-form").is_displayed()
        assert key not in blank.driver.page_source
        blank.run("sessionStorage.clear()")
