"""The API's own documentation, offline in a real browser."""

import pytest

from tests.browser.browsing import Page

pytestmark = pytest.mark.slow


def test_the_docs_show_the_api_without_any_other_host(blank: Page, service_url: str) -> None:
    blank.driver.get(f"{service_url}/docs")
    blank.until(lambda: blank.all("[id='operations-faces-analyze'] .opblock-summary"))
    blank.find("[id='operations-faces-analyze'] .opblock-summary-control").click()
    blank.until(lambda: "max_faces" in blank.find(".parameters").text)
    assert [places for rule, places in blank.violations() if rule == "color-contrast"] == []
    kinds = blank.all(".body-param-content-type option, .content-type option")
    assert {"image/*", "multipart/form-data", "application/json"} <= {kind.text for kind in kinds}
