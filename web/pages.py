"""The chat page and what it needs."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse

FOLDER = Path(__file__).with_name("static")
_TYPES = {"chat.js": "text/javascript", "chat.css": "text/css"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'self'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",  # the files belong together, so none may be older than another
}

page_routes = APIRouter(include_in_schema=False)


@page_routes.head("/chat")
@page_routes.get("/chat")
async def chat_page() -> FileResponse:
    """The page itself."""
    return FileResponse(FOLDER / "chat.html", media_type="text/html", headers=_HEADERS)


@page_routes.get("/static/{name}")
async def static(name: str) -> FileResponse:
    """A file of the page."""
    if name not in _TYPES:
        raise HTTPException(404, "There is no such file.")
    return FileResponse(FOLDER / name, media_type=_TYPES[name], headers=_HEADERS)
