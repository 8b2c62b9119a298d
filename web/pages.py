"""The chat page and the widget: what browsers load, and the rules that bind it."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from web.files import NO_SUCH_FILE

FOLDER = Path(__file__).with_name("static")
PAGE, WIDGET = "chat.html", "widget.js"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cache-Control": "no-cache",  # the files belong together, so none may be older than another
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file that browsers load, as it is and packed."""

    content: bytes
    packed: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, content: bytes, kind: str) -> StaticFile:
        """A file with this content."""
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return cls(content, gzip.compress(content, mtime=0), kind, tag)


_FILES = {
    path.relative_to(FOLDER).as_posix(): StaticFile.of(path.read_bytes(), _TYPES[path.suffix])
    for path in FOLDER.rglob("*")
    if path.suffix in _TYPES
}
_MODULES = _FILES.keys() - {PAGE, WIDGET}


page_routes = APIRouter(include_in_schema=False)


def page_with(chat_page_key: str) -> StaticFile:
    """The page at /chat, which sends this publishable key along, unless it is empty."""
    page = _FILES[PAGE]
    if not chat_page_key:
        return page
    with_key = f'<body data-key="{escape(chat_page_key)}"'.encode()
    return StaticFile.of(page.content.replace(b"<body", with_key, 1), page.kind)


@page_routes.head("/chat")
@page_routes.get("/chat")
async def chat_page(request: Request) -> Response:
    """The page of its own."""
    return _sent(request, request.app.state.chat_page, readers="same-origin")


@page_routes.head("/widget.js")
@page_routes.get("/widget.js")
async def widget(request: Request) -> Response:
    """What other pages load to show the widget."""
    return _sent(request, _FILES[WIDGET])


@page_routes.head("/static/{name:path}")
@page_routes.get("/static/{name:path}")
async def static(request: Request, name: str) -> Response:
    """A file that both are made of."""
    if name not in _MODULES:
        raise HTTPException(404, NO_SUCH_FILE)
    return _sent(request, _FILES[name])


def _sent(request: Request, file: StaticFile, *, readers: str = "cross-origin") -> Response:
    headers = {**_HEADERS, "Cross-Origin-Resource-Policy": readers}
    if "gzip" in request.headers.get("accept-encoding", ""):
        # Each form has a tag of its own, as a strong tag has to.
        headers |= {"ETag": f'{file.tag[:-1]}-gz"', "Content-Encoding": "gzip"}
        content = file.packed
    else:
        headers["ETag"] = file.tag
        content = file.content
    if _knows(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=file.kind, headers=headers)


def _knows(request: Request, tag: str) -> bool:
    told = request.headers.get("if-none-match", "")
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in told.split(","))
