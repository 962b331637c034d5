"""The page of people in a browser: search, enrol, sort a pile, compare, and the list of who is enrolled."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from service.config import Settings
from service.gallery.stores.sqlite import SqliteStore
from tests.browser.browsing import Page
from tests.service.gallery.served import people_served, photo
from tests.service.serving import Served

pytestmark = pytest.mark.slow

ADA, BOB, EVE = 1, 2, 3
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with people_served(Settings(data_dir=tmp_path_factory.mktemp("data"))) as running:
        yield running


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos as files: ada1.png … ada3.png, the same of bob and eve, group.png of all, nobody.png, blurred.png."""
    folder = tmp_path_factory.mktemp("album")
    for name, who in (("ada", ADA), ("bob", BOB), ("eve", EVE)):
        for take in (1, 2, 3):
            (folder / f"{name}{take}.png").write_bytes(photo(who, take=take))
    (folder / "group.png").write_bytes(photo(BOB, ADA, EVE, take=4))
    (folder / "nobody.png").write_bytes(photo())
    (folder / "blurred.png").write_bytes(photo(ADA, take=5, quality=0.1))
    return folder


@pytest.fixture
def collection(server: Served) -> str:
    """A collection of this test's own, which keeps photos."""
    name = f"c{next(NUMBERS)}"
    server.client.put(f"/v1/collections/{name}", json={"keep_photos": True})
    return name


@pytest.fixture
def people(blank: Page, server: Served, collection: str) -> Iterator[Page]:
    """The page with that collection open."""
    choice = f"sessionStorage.setItem('collection', '{collection}')"
    script = blank.devtools("Page.addScriptToEvaluateOnNewDocument", source=choice)
    blank.open(f"{server.url}/people")
    blank.devtools("Page.removeScriptToEvaluateOnNewDocument", **script)
    blank.until(lambda: blank.text("listed"))
    return blank


def task(page: Page, form: str) -> None:
    """Open the part of the page with this form."""
    page.run("document.querySelector(args[0]).closest('details').open = true", form)


def outcome(page: Page, form: str) -> str:
    """Press the form's button and return what it came to."""
    page.find(f"{form} [type=submit]").click()
    page.until(lambda: page.find(f"{form} .outcome").text not in ("", "Working …"))
    page.until(lambda: page.find(f"{form} [type=submit]").is_enabled())
    return page.find(f"{form} .outcome").text


def enrol(page: Page, name: str, *photos: Path) -> str:
    """Enrol somebody by the form and return its outcome."""
    task(page, "#enrol")
    page.find("#name").clear()
    page.find("#name").send_keys(name)
    page.give("#enrol-photos", *photos)
    return outcome(page, "#enrol")


def search(page: Page, *photos: Path) -> str:
    """Search for who is in a photo and return the outcome."""
    task(page, "#search")
    page.give("#search-photo", *photos)
    return outcome(page, "#search")


def names(page: Page) -> list[str]:
    """Return the names in the list, in its order."""
    return [name.text for name in page.all("#subjects .subject-name")]


def stored(server: Served, collection: str, name: str) -> int:
    """Return how many photos of a person are stored; 0 for nobody."""
    answer = server.client.get(f"/v1/collections/{collection}/subjects/{name}")
    return len(answer.json()["media"]) if answer.status_code == 200 else 0


# -- collections ------------------------------------------------------------------------------------------------------


def test_a_collection_is_made_in_a_step_of_its_own(blank: Page, tmp_path: Path, album: Path):
    with people_served(Settings(data_dir=tmp_path / "data")) as server:
        blank.open(f"{server.url}/people")
        blank.until(lambda: "There is no collection yet" in blank.text("collection-words"))
        assert blank.unseen_by("#enrolled"), "nothing is said about people before there is a collection"
        blank.give("#search-photo", album / "ada1.png")
        assert "No collection is open. Choose a collection first" in outcome(blank, "#search")
        assert server.client.get("/v1/collections").json()["collections"] == []

        blank.find("#make-name").send_keys("stuff", Keys.ENTER)
        blank.until(lambda: blank.find("#collection").get_attribute("value") == "stuff")
        blank.until(lambda: blank.text("listed") == "Nobody yet.")
        assert blank.text_of("#search .outcome") == ""
        blank.find("#make-open").click()
        blank.find("#make-name").send_keys("stuff")
        assert "There is a collection 'stuff' already" in outcome(blank, "#make")


@pytest.mark.parametrize(("name", "fits"), [("ada", True), (".ada", True), ("..a", True), ("a/b", False)]
                         + [(name, False) for name in (".", "..", " .. ")])  # fmt: skip
def test_a_name_that_would_lead_elsewhere_is_not_sent(people: Page, name: str, fits: bool):
    """A browser makes `…/collections/..` of it before it asks: the answer would be about something else."""
    for field in ("make-name", "name"):
        script = "const field = document.getElementById(args[0]); field.value = args[1]; return field.checkValidity();"
        assert people.run(script, field, name) is fits


def test_nobody_is_said_only_of_a_list_that_was_loaded(blank: Page, server: Served, collection: str):
    blank.devtools("Network.enable")
    blank.devtools("Network.setBlockedURLs", urls=["*/subjects?*"])
    try:
        blank.open(f"{server.url}/people")
        blank.until(lambda: "cannot be reached" in blank.text("listed"))
        assert "Nobody" not in blank.find("main").text
    finally:
        blank.devtools("Network.setBlockedURLs", urls=[])


def test_a_result_never_stands_beside_another_photo_or_collection(
    people: Page, server: Served, album: Path, collection: str
):
    server.client.put("/v1/collections/other")
    people.driver.refresh()
    people.until(lambda: people.text("listed"))
    assert "1 of 1 photo enrolled as Ada" in enrol(people, "Ada", album / "ada1.png")
    people.find("#name").send_keys(" Lovelace")
    assert people.text_of("#enrol .outcome") == "", "another name"
    assert search(people, album / "ada2.png").startswith("Most likely Ada")
    people.give("#search-photo", album / "eve1.png")
    assert people.text_of("#search .outcome") == "", "another photo"
    search(people, album / "ada2.png")
    people.find("#collection option[value=other]").click()
    assert people.text_of("#search .outcome") == "", "another collection"
    people.until(lambda: people.text("listed") == "Nobody yet.")
    enrol(people, "Bob", album / "bob1.png")
    assert (stored(server, collection, "Bob"), stored(server, "other", "Bob")) == (0, 1)


# -- who is this ------------------------------------------------------------------------------------------------------


def test_everybody_in_a_group_photo_has_a_name(people: Page, album: Path):
    enrol(people, "Ada <b>Lovelace", album / "ada1.png", album / "ada2.png")
    enrol(people, "Bob", album / "bob1.png")
    assert search(people, album / "group.png").startswith("2 of 3 faces are known, looked for among 2 people")
    people.until(lambda: people.find("#search .face-label").is_displayed())
    labels = [label.get_property("textContent") for label in people.all("#search .face-label")]
    assert labels == ["Bob", "Ada <b>Lovelace", "unknown"]
    assert [name.text for name in people.all("#search .match-name")] == ["Bob", "Ada <b>Lovelace", "Not known here"]
    frame = people.find("#search .group-photo").rect
    boxes = [box.rect["x"] - frame["x"] for box in people.all("#search .face-box")]
    assert boxes == pytest.approx([0, frame["width"] / 8, frame["width"] / 4], abs=2), "the boxes are on the faces"
    assert len(people.all("#search .cut-out")) == 3
    people.find("#search .candidates summary").click()
    assert people.find("#search .scale").is_displayed()
    assert search(people, album / "eve1.png").startswith("Nobody who is enrolled here")
    assert "No face was found" in search(people, album / "nobody.png")


# -- enrolling --------------------------------------------------------------------------------------------------------


def test_each_photo_says_what_became_of_it(people: Page, album: Path):
    told = enrol(people, "Ada", album / "ada1.png", album / "nobody.png", album / "blurred.png")
    assert told.startswith(
        "1 of 3 photos enrolled as Ada\nada1.png\nEnrolled, quality 100 %\nnobody.png\nNo face was found"
    )
    assert "blurred.png\nThe photo is not good enough" in told
    assert "too blurred" in told
    assert len(people.all("#enrol .entry canvas.cut-out")) == 1, "the face that was enrolled"
    assert people.all("#enrol .tile") == [], "the next person does not get these photos"
    assert names(people) == ["Ada"]


def test_more_photos_than_one_request_may_have(people: Page, server: Served, collection: str, tmp_path: Path):
    photos = [tmp_path / f"holiday {number}.png" for number in range(20)]
    for number, path in enumerate(photos):
        path.write_bytes(photo(ADA, take=number + 1))
    task(people, "#enrol")
    people.give("#enrol-photos", *photos)
    assert [name.text for name in people.all("#enrol .tile-name")] == [path.name for path in photos]
    people.find("#name").send_keys("Ada")
    assert outcome(people, "#enrol").startswith("20 of 20 photos enrolled")
    assert stored(server, collection, "Ada") == 20


def test_of_several_faces_one_is_chosen(people: Page, server: Served, album: Path, collection: str):
    told = enrol(people, "Eve", album / "group.png")
    assert "There are several faces. Which one is Eve?" in told
    assert stored(server, collection, "Eve") == 0
    people.until(lambda: people.all("#enrol .face-box")[2].rect["width"] > 10)
    people.all("#enrol .face-box")[2].click()
    people.until(lambda: "1 of 1 photo enrolled as Eve" in people.find("#enrol .outcome").text)
    assert search(people, album / "eve1.png").startswith("Most likely Eve")
    assert search(people, album / "bob1.png").startswith("Nobody")


def test_a_conflict_is_asked_about_before_anything_is_stored(
    people: Page, server: Served, album: Path, collection: str
):
    enrol(people, "Ada", album / "ada1.png")
    told = enrol(people, "Augusta", album / "ada2.png", album / "ada3.png")
    assert told.count("This face is enrolled as Ada already.") == 2
    assert stored(server, collection, "Augusta") == 0
    people.find("#enrol .entry:nth-child(1) .buttons .button:nth-child(2)").click()
    assert "Left out" in people.find("#enrol .entry:nth-child(1)").text
    people.find("#enrol .entry:nth-child(2) .buttons .button:nth-child(1)").click()
    people.until(lambda: "1 of 2 photos enrolled as Augusta" in people.find("#enrol .outcome").text)
    assert stored(server, collection, "Augusta") == 1
    people.until(lambda: names(people) == ["Ada", "Augusta"])


def test_photos_that_were_not_sent_are_kept_for_the_right_name(
    people: Page, server: Served, collection: str, tmp_path: Path
):
    photos = [tmp_path / f"{number}.png" for number in range(30)]
    for number, path in enumerate(photos):
        path.write_bytes(photo(ADA, take=number + 1))
    task(people, "#enrol")
    people.give("#enrol-photos", *photos)
    with people.slow_network(milliseconds=200):  # or all photos would be sent before the key is pressed
        people.find("#name").send_keys("Adda", Keys.ENTER)
        people.until(lambda: "Enrolled" in people.find("#enrol .outcome").text)
        people.find("#name").send_keys(Keys.BACKSPACE)
        kept = len(people.all("#enrol .tile"))
    assert 0 < kept < 30
    assert people.text_of("#enrol .outcome") == ""
    people.until(lambda: stored(server, collection, "Adda") in (30 - kept, 31 - kept))


@pytest.mark.parametrize("way", ["paste", "drop"])
def test_photos_are_pasted_and_dropped_where_they_belong(people: Page, album: Path, way: str):
    task(people, "#compare")
    people.transfer("#compare-second", way, album / "ada1.png")
    assert people.find("#compare-second .tile-name").text == "ada1.png"
    assert people.all("#compare-first .tile") == []
    people.find("#compare-second .tile-remove").click()
    assert people.all(".tile") == []


def test_a_photo_from_the_camera(people: Page):
    people.find("#search-photo .well-camera").click()
    people.until(lambda: people.find("#camera-shoot").is_enabled())
    people.find("#camera-shoot").click()
    people.until(lambda: people.all("#search-photo .tile"))
    assert people.find("#search-photo .tile-name").text.startswith("camera-")


# -- a pile -----------------------------------------------------------------------------------------------------------


def test_a_pile_is_sorted_into_people_who_can_be_enrolled(people: Page, server: Served, album: Path, collection: str):
    enrol(people, "Ada", album / "ada1.png")
    task(people, "#pile")
    pile = [album / f"{name}{take}.png" for name in ("ada", "bob") for take in (2, 3)]
    people.give("#pile-photos", *pile, album / "group.png", album / "nobody.png", album / "blurred.png")
    assert outcome(people, "#pile").startswith("3 people in 7 photos")
    headings = sorted(heading.text.replace("1", "N").replace("2", "N") for heading in people.all(".person h3"))
    assert [heading.split(":")[0] for heading in headings] == ["Ada, known already", "Person 3", "Person N"]
    [bob] = [form for form in people.all(".person") if "bob2.png" in form.text]
    assert sorted(name.text for name in bob.find_elements("css selector", ".tile-name")) == [
        "bob2.png",
        "bob3.png",
        "group.png",
    ]
    [group] = [item for item in bob.find_elements("css selector", ".choice") if "group.png" in item.text]
    group.find_element("css selector", "input").click()  # leave it out
    bob.find_element("css selector", "input[type=text]").send_keys("Bob")
    assert bob.find_element("css selector", "[type=submit]").text == "Enrol as Bob"
    bob.find_element("css selector", "[type=submit]").click()
    people.until(lambda: "2 of 2 photos enrolled as Bob" in bob.text)
    assert stored(server, collection, "Bob") == 2
    people.give("#pile-photos", album / "eve1.png")
    assert people.all(".person") == [], "the people were those of another pile"


# -- comparing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("second", "matched"), [("ada2.png", True), ("eve1.png", False)])
def test_two_photos_are_compared_and_the_scale_shows_it(people: Page, album: Path, second: str, matched: bool):
    task(people, "#compare")
    people.give("#compare-first", album / "ada1.png")
    people.give("#compare-second", album / second)
    words = outcome(people, "#compare")
    assert words.startswith("Most likely the same person" if matched else "Not taken for the same person")
    assert [cut.get_attribute("aria-label") for cut in people.all("#compare .cut-out")] == [
        "The face compared in ada1.png",
        f"The face compared in {second}",
    ]
    scale = people.find("#compare .scale")
    said = str(scale.get_attribute("aria-label"))
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


# -- the list ---------------------------------------------------------------------------------------------------------


def test_the_list_is_sorted_searched_and_shown_in_parts(people: Page, server: Served, album: Path, collection: str):
    path = f"/v1/collections/{collection}/subjects"
    for number in range(53):
        server.client.put(f"{path}/p{number:02}")
    server.client.post(f"{path}/p07/media", content=(album / "ada1.png").read_bytes())
    people.driver.refresh()
    people.until(lambda: len(people.all("#subjects li")) == 50)
    assert people.text("listed") == "53 people"
    assert names(people) == [f"p{number:02}" for number in range(50)]
    people.find("#more").click()
    assert len(names(people)) == 53
    assert people.unseen_by("#more")
    people.find("#order option[value=photos]").click()
    assert names(people)[:2] == ["p07", "p00"]
    assert people.find("#subjects .subject-count").text == "1 photo"
    people.find("#find").send_keys("P5")
    assert names(people) == ["p50", "p51", "p52"]
    assert people.text("listed") == "3 of 53 people"


def test_a_collection_that_somebody_deleted_from_the_store_is_named(blank: Page, tmp_path: Path):
    with people_served(Settings(data_dir=tmp_path)) as server:
        for name in ("guests", "staff"):
            server.client.put(f"/v1/collections/{name}")
        store = SqliteStore(tmp_path / "gallery.db")
        [staff] = [row for row in store.all_collections() if row.tag != store.collections(b"", 1)[0].tag]
        store.delete_collection(staff.id)
        store.close()
        blank.open(f"{server.url}/people")
        blank.until(lambda: "Somebody deleted or changed without this server" in blank.text("collection-words"))
        kept = blank.find("#collection").get_property("value")
        [lost] = {"guests", "staff"} - {kept}
        assert f": {lost}. Ask who runs it." in blank.text("collection-words")


def test_everybody_of_a_large_collection_is_reached(people: Page, server: Served, collection: str):
    """With parts of 5 people in place of 10,000."""
    path = f"/v1/collections/{collection}/subjects"
    everybody = [f"p{number:02}" for number in range(12)]
    for name in everybody:
        server.client.put(f"{path}/{name}")
    people.run("document.getElementById('enrolled').dataset.part = 5")
    people.run("document.getElementById('collection').dispatchEvent(new Event('change'))")
    people.until(lambda: len(people.all("#subjects li")) == 5)
    first = names(people)
    assert people.text("listed") == "5 people of more; those whose whole name you enter are found, too"
    missing = next(name for name in everybody if name not in first)
    people.find("#find").send_keys(missing, Keys.TAB)
    people.until(lambda: names(people) == [missing])
    people.find("#find").clear()
    people.find("#find").send_keys("nobody", Keys.TAB)
    people.until(lambda: people.text("listed").startswith("0 of 6 people"))
    people.find("#find").send_keys(Keys.CONTROL, "a", Keys.BACKSPACE)
    people.until(lambda: names(people) == sorted([*first, missing]))
    for _ in range(2):
        before = len(names(people))
        people.find("#next-part").click()
        people.until(lambda before=before: len(names(people)) > before)
    assert names(people) == everybody
    assert people.text("listed") == "12 people"
    assert people.unseen_by("#next-part")


def test_a_person_is_verified_renamed_and_loses_a_photo(people: Page, server: Served, album: Path, collection: str):
    enrol(people, "Ada", album / "ada1.png", album / "ada2.png")
    people.find("#subjects summary").click()
    kept_photos = lambda: [image.get_property("naturalWidth") for image in people.all(".media img")]  # noqa: E731
    people.until(lambda: kept_photos() == [8, 8])

    for file, words in (("ada3.png", "Most likely Ada: similarity"), ("eve1.png", "Not taken for Ada: similarity")):
        people.give(".verify", album / file)
        assert words in outcome(people, ".verify")
        assert people.find(".verify .cut-out").get_attribute("aria-label") == f"The face compared in {file}"

    people.find("[aria-label='Delete photo 1 of Ada']").click()
    assert people.text("confirm-yes") == "Delete photo 1"
    people.find("#confirm-yes").click()
    people.until(lambda: people.find("#subjects .subject-count").text == "1 photo")
    assert stored(server, collection, "Ada") == 1

    people.find(".rename input").send_keys("Augusta Ada", Keys.ENTER)
    people.until(lambda: people.driver.switch_to.active_element.get_attribute("id") == "find")
    people.until(lambda: names(people) == ["Augusta Ada"])
    assert "Ada is called Augusta Ada now." in people.text("listed")
    assert (stored(server, collection, "Ada"), stored(server, collection, "Augusta Ada")) == (0, 1)


def test_a_person_is_forgotten_by_name(people: Page, server: Served, album: Path, collection: str):
    enrol(people, "Bob", album / "bob1.png")
    people.find("#subjects summary").click()
    people.until(lambda: people.all(".forget"))
    button = people.find(".forget")
    assert button.text == "Forget Bob"
    red, green, blue = people.run("return getComputedStyle(args[0]).backgroundColor.match(/\\d+/g).map(Number)", button)
    assert red > 2 * max(green, blue)
    button.click()
    assert (people.text("confirm-title"), people.text("confirm-yes")) == ("Forget Bob?", "Forget Bob")
    people.find("#confirm button[value='']").click()
    assert stored(server, collection, "Bob") == 1
    people.find(".forget").click()
    people.find("#confirm-yes").click()
    people.until(lambda: "Bob is forgotten, receipt" in people.text("listed"))
    assert "Nobody yet." in people.text("listed")
    assert stored(server, collection, "Bob") == 0


# -- for everybody ----------------------------------------------------------------------------------------------------


def test_everything_is_reached_and_named(people: Page, server: Served, collection: str):
    server.client.put(f"/v1/collections/{collection}/subjects/Ada")
    people.driver.refresh()
    people.until(lambda: people.all("#subjects li"))
    reached: list[str] = []
    while len(reached) < 30 and (not reached or not reached[-1].startswith("Ada")):
        ActionChains(people.driver).send_keys(Keys.TAB).perform()
        reached.append(people.driver.switch_to.active_element.accessible_name)
    pages = ["Faces", "People", "API", "No key needed"]
    tasks = ["Enrol a person", "Sort a pile of photos", "Compare two photos"]
    searching = ["Who is this?", "Photo: choose photo", "Photo: camera", "Search"]
    finding = ["Find a person by name", "Order"]
    assert reached[:-1] == [*pages, "Collection", "New collection", *searching, *tasks, *finding]
    live = [place.get_attribute("aria-live") for place in people.all(".task .outcome")]
    assert live == ["polite"] * 4


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280), ("dark", 320)])
def test_it_is_accessible_and_no_wider_than_the_window(people: Page, album: Path, scheme: str, width: int):
    people.resize(width, 844)
    people.colors(scheme)
    enrol(people, "A" * 90, album / "ada1.png", album / "nobody.png", album / "group.png")
    people.find("#subjects summary").click()
    search(people, album / "group.png")
    people.find("#search .candidates summary").click()
    people.run("for (const each of document.querySelectorAll('.task')) each.removeAttribute('name'), each.open = true")
    people.find("#make-open").click()
    assert people.violations() == []
    assert people.run("return document.documentElement.scrollWidth") <= width
