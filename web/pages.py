"""The chat page and the widget: what browsers load, and the rules that bind it."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

FOLDER = Path(__file__).with_name("static")
PAGE, WIDGET = "chat.html", "widget.js"
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
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
class _File:
    content: bytes
    packed: bytes
    kind: str
    tag: str

    @classmethod
    def of(cls, content: bytes, kind: str) -> _File:
        tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return cls(content, gzip.compress(content, mtime=0), kind, tag)


_FILES = {
    path.relative_to(FOLDER).as_posix(): _File.of(path.read_bytes(), _TYPES[path.suffix])
    for path in FOLDER.rglob("*")
    if path.suffix in _TYPES
}
_MODULES = _FILES.keys() - {PAGE, WIDGET}


def page_routes(chat_page_key: str) -> APIRouter:
    """The routes. The page at /chat sends this publishable key along, unless it is empty."""
    routes = APIRouter(include_in_schema=False)
    page = _FILES[PAGE]
    if chat_page_key:
        with_key = f'<body data-key="{escape(chat_page_key)}"'.encode()
        page = _File.of(page.content.replace(b"<body", with_key, 1), page.kind)

    @routes.head("/chat")
    @routes.get("/chat")
    async def chat_page(request: Request) -> Response:
        return _sent(request, page, readers="same-origin")

    @routes.head("/widget.js")
    @routes.get("/widget.js")
    async def widget(request: Request) -> Response:
        return _sent(request, _FILES[WIDGET])

    @routes.head("/static/{name:path}")
    @routes.get("/static/{name:path}")
    async def static(request: Request, name: str) -> Response:
        if name not in _MODULES:
            raise HTTPException(404, "There is no such file.")
        return _sent(request, _FILES[name])

    return routes


def _sent(request: Request, file: _File, *, readers: str = "cross-origin") -> Response:
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
