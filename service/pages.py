"""The pages for people: photos, people, and the API described, all of it offline."""

from __future__ import annotations

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
DOCS = Path(fastapi_offline.__file__).parent / "static"
SWAGGER = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>allinone-face API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/docs/static/swagger-ui.css"><link rel="icon" href="data:,"></head>
<body><div id="swagger-ui"></div><script src="/docs/static/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script></body></html>"""
SWAGGER_START = "SwaggerUIBundle({url: '/openapi.json', dom_id: '#swagger-ui', deepLinking: true, validatorUrl: null})"


def add_pages(app: FastAPI) -> None:
    """Serve them."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(SWAGGER)

    @app.get("/docs/start.js", include_in_schema=False)
    async def start() -> Response:
        return Response(SWAGGER_START, media_type="text/javascript")

    app.mount("/docs/static", StaticFiles(directory=DOCS), name="docs")
    if (STATIC / "index.html").exists():
        app.mount("/static", StaticFiles(directory=STATIC), name="static")

        @app.get("/", include_in_schema=False)
        async def page() -> Response:
            return HTMLResponse((STATIC / "index.html").read_text())

        @app.get("/people", include_in_schema=False)
        async def people() -> Response:
            return HTMLResponse((STATIC / "people.html").read_text())
