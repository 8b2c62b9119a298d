"""`/docs`: the API's description, shown by Swagger UI, with nothing from anywhere else."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, Response

from web.files import NO_SUCH_FILE

# It writes styles into its elements, which is harmless: what it shows is our own description.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Cache-Control": "no-cache"}
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Bob's API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
<script src="docs/swagger-ui-bundle.js" defer></script>
<script src="docs/start.js" defer></script>
<main id="api"></main>
"""
_START = """SwaggerUIBundle({ url: "openapi.json", dom_id: "#api", deepLinking: true, tryItOutEnabled: true });
"""
_SWAGGER_UI = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}

docs_routes = APIRouter(include_in_schema=False)


@docs_routes.get("/docs")
async def docs() -> HTMLResponse:
    """The page itself."""
    return HTMLResponse(_PAGE, headers=_HEADERS)


@docs_routes.get("/docs/{name}")
def part(name: str) -> Response:
    """A file of the page."""
    if name == "start.js":
        return Response(_START, media_type="text/javascript", headers=_HEADERS)
    if name not in _SWAGGER_UI:
        raise HTTPException(404, NO_SUCH_FILE)
    content = files("fastapi_offline").joinpath("static", name).read_bytes()
    return Response(content, media_type=_SWAGGER_UI[name], headers={**_HEADERS, "Cache-Control": "max-age=86400"})
