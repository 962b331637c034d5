"""The pages behind a path prefix, as a reverse proxy serves them."""

from pathlib import Path

import pytest

from service.config import Settings
from tests.browser.browsing import Page
from tests.service.gallery.served import people_served, photo

pytestmark = pytest.mark.slow


def test_pages_find_each_other_and_their_server(blank: Page, tmp_path: Path):
    with people_served(Settings(data_dir=tmp_path / "data", root_path="/tools/faces")) as server:
        blank.open(f"{server.url}/tools/faces")
        assert blank.driver.current_url == f"{server.url}/tools/faces/"
        assert blank.text("service-text") == "Ready"
        for link, path in (("People", "people"), ("Faces", "")):
            blank.find(".site-header nav").find_element("link text", link).click()
            blank.until(lambda: blank.text("service-text") == "Ready")
            assert blank.driver.current_url == f"{server.url}/tools/faces/{path}"
            assert blank.find("nav [aria-current]").text == link
        blank.find("#example").click()
        blank.until(lambda: blank.text("file-name") == "example.jpg")

        blank.find(".site-header nav").find_element("link text", "People").click()
        blank.until(lambda: blank.find("#make-name").is_displayed())
        blank.find("#make-name").send_keys("staff")
        blank.find("#make [type=submit]").click()
        blank.until(lambda: blank.text("listed") == "Nobody yet.")
        server.client.post("/v1/collections/staff/subjects/ada/media?create=true", content=photo(1))
        (tmp_path / "ada.png").write_bytes(photo(1, take=2))
        blank.give("#search-photo", tmp_path / "ada.png")
        blank.find("#search [type=submit]").click()
        blank.until(lambda: "Most likely ada" in blank.find("#search .outcome").text)
