"""The pages for people: photos, people, and the API described, all of it offline.

Addresses in the pages are relative, so that they work behind a path prefix, whether the proxy strips it or keeps it.
"""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parents[1] / "static"
SWAGGER = Path(fastapi_offline.__file__).parent / "static"
PARTS = ("header", "camera")
"""What several pages have: `<!-- NAME -->` in a page stands for the file NAME.html of the folder `parts`."""


def add_pages(app: FastAPI) -> None:
    """Serve the pages and the files that they load."""
    faces = _assemble("index.html", own_link="./")
    people = _assemble("people.html", own_link="people")
    docs = _assemble("docs.html", own_link="docs")
    app.mount("/docs/static", StaticFiles(directory=SWAGGER), name="docs")
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    async def faces_page(request: Request) -> Response:
        if not request.scope["raw_path"].endswith(b"/"):  # the bare prefix: relative addresses need its slash
            return RedirectResponse(f"{request.scope['root_path']}/")
        return HTMLResponse(faces)

    @app.get("/people", include_in_schema=False)
    async def people_page() -> Response:
        return HTMLResponse(people)

    @app.get("/docs", include_in_schema=False)
    async def docs_page() -> Response:
        return HTMLResponse(docs)


def _assemble(name: str, own_link: str) -> str:
    """Return a page with the parts that several pages have; its own link in the header is marked as the current one."""
    page = (STATIC / name).read_text()
    for part in PARTS:
        page = page.replace(f"<!-- {part} -->", (STATIC / "parts" / f"{part}.html").read_text())
    return page.replace(f'<a href="{own_link}">', f'<a href="{own_link}" aria-current="page">')
