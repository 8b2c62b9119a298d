"""The chat page and the widget: what browsers load, and the rules that bind it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import logging
from dataclasses import dataclass
from html import escape
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

from core import Chat, Settings, SettingsError
from web.depends import OpenChat
from web.files import NO_SUCH_FILE
from web.sessions import public_assistants

FOLDER = Path(__file__).with_name("static")
PAGE, WIDGET = "chat.html", "widget.js"
DECLARATIONS = "widget.d.ts"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".ts": "application/typescript",
    ".woff2": "font/woff2",
}
_LOGOS = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".svg": "image/svg+xml",
}
MOST_BYTES_OF_A_LOGO = 100_000
MOST_QUESTIONS = 6
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
_MODULES = _FILES.keys() - {PAGE, WIDGET, DECLARATIONS}


logger = logging.getLogger(__name__)
page_routes = APIRouter(include_in_schema=False)


class ChatPage:
    """The page at /chat, which tells its scripts what the settings say in attributes of its body.

    Raises SettingsError where a setting cannot be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._wanted = settings.chat_page_assistant
        self._title = settings.chat_page_title
        color = settings.chat_page_color
        self._logo = _data_url(settings.chat_page_logo) if settings.chat_page_logo else ""
        self._attributes = {
            "key": settings.chat_page_key,
            "title": settings.chat_page_title,
            "greeting": settings.chat_page_greeting,
            "color": color,
            "on-color": _readable_on(color) if color else "",
            "logo": self._logo,
            "questions": _questions(settings.chat_page_questions),
            "contact": settings.chat_page_contact,
            "texts": _texts(settings.chat_page_texts),
        }
        self._by_assistant: dict[tuple[str, bool], StaticFile] = {}

    def for_whom(self, chat: Chat, asked_for: str | None) -> StaticFile:
        """The page on which that public assistant is asked, or else the settings', or else the usual one."""
        public = public_assistants(chat)
        chosen = next((each for each in (asked_for, self._wanted) if each in public), None)
        name = chosen or public[0]
        known = (name, chosen is not None)
        if known not in self._by_assistant:
            if self._wanted and self._wanted not in public:
                logger.warning("CHAT_PAGE_ASSISTANT names no public assistant: %s answers on the page", public[0])
            self._by_assistant[known] = self._made(name, is_chosen=chosen is not None)
        return self._by_assistant[known]

    def _made(self, name: str, *, is_chosen: bool) -> StaticFile:
        page = _FILES[PAGE]
        told = {**self._attributes, "assistant": name, "chosen": "true" if is_chosen else ""}
        attributes = "".join(f' data-{each}="{escape(value)}"' for each, value in told.items() if value)
        html = page.content.decode().replace("<body", f"<body{attributes}", 1)
        html = html.replace("<title>Bob</title>", f"<title>{escape(self._title or name)}</title>", 1)
        return StaticFile.of(html.encode(), page.kind)


def _data_url(logo: Path) -> str:
    kind = _LOGOS.get(logo.suffix.lower())
    if kind is None:
        raise SettingsError("CHAT_PAGE_LOGO: must be a PNG, JPEG, WebP or SVG.")
    try:
        content = logo.read_bytes()
    except OSError:
        raise SettingsError("CHAT_PAGE_LOGO: cannot be read.") from None
    if len(content) > MOST_BYTES_OF_A_LOGO:
        raise SettingsError(f"CHAT_PAGE_LOGO: may have {MOST_BYTES_OF_A_LOGO:,} bytes at most.")
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _questions(given: str) -> str:
    if given.count("|") >= MOST_QUESTIONS:
        raise SettingsError(f"CHAT_PAGE_QUESTIONS: must be {MOST_QUESTIONS} at most.")
    return given


def _texts(given: str) -> str:
    try:
        texts = json.loads(given or "{}")
    except ValueError:
        texts = None
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise SettingsError('CHAT_PAGE_TEXTS: must be texts by name in JSON, like {"hint": "Enter sends."}.')
    return given


def _readable_on(color: str) -> str:
    """Black or white, whichever is easier to read on a colour like #17705f."""
    parts = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return "#ffffff" if 1.05 / (light + 0.05) >= 4.5 else "#000000"


@page_routes.head("/chat")
@page_routes.get("/chat")
async def chat_page(request: Request, chat: OpenChat) -> Response:
    """The page of its own. Of its address only the assistant counts."""
    page: ChatPage = request.app.state.chat_page
    return _sent(request, page.for_whom(chat, request.query_params.get("assistant")), readers="same-origin")


@page_routes.head("/widget.js")
@page_routes.get("/widget.js")
async def widget(request: Request) -> Response:
    """What other pages load to show the widget."""
    return _sent(request, _FILES[WIDGET])


@page_routes.head("/widget.d.ts")
@page_routes.get("/widget.d.ts")
async def declarations(request: Request) -> Response:
    """What the widget offers to scripts of the page around it, for TypeScript."""
    return _sent(request, _FILES[DECLARATIONS])


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
