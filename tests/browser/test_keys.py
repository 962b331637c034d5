"""The API key form in the head of every page, and what each role may do there."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from service.commands.keys import open_keys
from service.config import Settings
from service.schemas.names import Role
from tests.browser.browsing import Page
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served

pytestmark = pytest.mark.slow

ADA, BOB, EVE = 1, 2, 3
ROLES: dict[str, list[Role]] = {"admin": ["admin"], "door": ["verify"], "sorter": ["analyze"]}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("data"), api_keys="on")


@pytest.fixture(scope="module")
def keys(settings: Settings) -> dict[str, str]:
    """A key of each kind."""
    with open_keys(settings) as ring:
        return {name: ring.create(name, roles)[1] for name, roles in ROLES.items()}


@pytest.fixture(scope="module")
def server(settings: Settings, keys: dict[str, str]) -> Iterator[Served]:
    with people_served(settings) as running:
        running.client.headers["Authorization"] = f"Bearer {keys['admin']}"
        running.client.put("/v1/collections/staff")
        enrolled = running.client.post("/v1/collections/staff/subjects/ada/media?create=true", content=photo(ADA))
        assert enrolled.status_code == 200
        yield running


@pytest.fixture
def page(blank: Page, server: Served) -> Iterator[Page]:
    """A tab without a key."""
    yield blank
    blank.run("sessionStorage.clear()")


def go(page: Page, server: Served, path: str) -> None:
    page.open(f"{server.url}{path}")
    page.until(lambda: state(page) != "unknown")


def state(page: Page) -> str | None:
    return page.find("#access").get_attribute("data-state")


def enter(page: Page, key: str) -> None:
    if not page.find("#key").is_displayed():
        page.find("#access-summary").click()
    page.find("#key").send_keys(key, Keys.ENTER)


def picture(folder: Path, name: str, *people: int, take: int = 2) -> Path:
    (folder / name).write_bytes(photo(*people, take=take))
    return folder / name


@pytest.mark.parametrize("path", ["/", "/people", "/docs"])
def test_every_page_says_that_a_key_is_needed_wrong_or_set(page: Page, server: Served, keys: dict[str, str], path: str):
    go(page, server, path)
    assert (state(page), page.text("access-state")) == ("needed", "Key needed")
    page.resize(375, 812)
    assert page.find("#access-state").size["width"] > 50, "a phone says it in words, not by a colour alone"
    assert page.run("return document.documentElement.scrollWidth") == 375
    enter(page, "face_0123456789ab_wrong")
    page.until(lambda: state(page) == "wrong")
    assert page.find("#key").is_displayed()
    assert "does not know this API key" in page.text("access-words")
    enter(page, keys["door"])
    page.until(lambda: state(page) == "valid")
    assert page.text("access-state") == "Key set"
    assert not page.find("#key").is_displayed()
    assert keys["door"] not in page.driver.page_source
    page.find("#access-summary").click()
    page.find("#key-forget").click()
    page.until(lambda: state(page) == "needed")


def test_a_photo_that_was_refused_is_sent_again_with_the_key(
    page: Page, server: Served, keys: dict[str, str], tmp_path: Path
):
    go(page, server, "/")
    page.choose(picture(tmp_path, "coffee.png"))
    page.until(lambda: page.text("panel-title") == "A valid API key is needed")
    assert page.driver.switch_to.active_element.get_attribute("id") == "key"
    enter(page, keys["door"])
    page.until(lambda: page.text("panel-title") == "This API key may not do that")
    assert "analyze" in page.text("access-words"), "the role that the key lacks"
    assert page.text("access-state") == "Key may not do that"


def test_the_form_that_was_refused_is_sent_again_with_the_key(
    page: Page, server: Served, keys: dict[str, str], tmp_path: Path
):
    go(page, server, "/people")
    assert "API key is needed" in page.text("collection-words")
    page.run("document.getElementById('compare').closest('details').open = true")
    page.give("#compare-first", picture(tmp_path, "one.png", ADA))
    page.give("#compare-second", picture(tmp_path, "two.png", ADA, take=3))
    page.find("#compare [type=submit]").click()
    page.until(lambda: "A valid API key is needed" in page.find("#compare .outcome").text)
    enter(page, keys["admin"])
    page.until(lambda: "Most likely the same person" in page.find("#compare .outcome").text)
    page.until(lambda: page.find("#collection").get_attribute("value") == "staff")


def test_a_key_that_only_verifies_searches_on_the_page_and_learns_of_matches_only(
    page: Page, server: Served, keys: dict[str, str], tmp_path: Path
):
    go(page, server, "/people")
    enter(page, keys["door"])
    page.until(lambda: page.find("#collection-name").is_displayed())
    assert "not see who is enrolled" in page.text("collection-words")
    assert page.unseen_by("#enrolled, #make-open, #collection")
    page.find("#collection-name").send_keys("staff")
    page.give("#search-photo", picture(tmp_path, "group.png", ADA, EVE))
    page.find("#search [type=submit]").click()
    page.until(lambda: page.all("#search .match"))
    assert [name.text for name in page.all("#search .match-name")] == ["ada", "Not known here"]
    assert len(page.all("#search .candidate")) == 1, "nothing is told of who does not match"
    page.find("#collection-name").send_keys("2")
    assert page.text_of("#search .outcome") == "", "it was about another collection"


def test_a_key_that_only_analyzes_is_told_so(page: Page, server: Served, keys: dict[str, str], tmp_path: Path):
    go(page, server, "/people")
    enter(page, keys["sorter"])
    page.until(lambda: page.find("#collection-name").is_displayed())
    page.find("#collection-name").send_keys("staff")
    page.give("#search-photo", picture(tmp_path, "who.png", ADA))
    page.find("#search [type=submit]").click()
    page.until(lambda: "may not do that" in page.find("#search .outcome").text)
    assert state(page) == "lacking"
    assert "`verify`" in page.text("access-words")
