"""Files that come with a question over HTTP: in a form as browsers send it, or as data URLs in JSON."""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import re
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from core import Attachment, Chat, GivenFile, Sentence, Settings, problem_of_a_file
from web.headers import SAFE_HEADERS

FORM = "multipart/form-data"
FIELD = "files"
LONGEST_FIELD_BYTES = 1_000_000
FIELDS = {"session_id", "user_input", "time_zone", "replaces"}
MOST_FIELDS = 10
LONGEST_CLAIMED_NAME = 1_000
BYTES_AT_ONCE = 1 << 18
RESTS = 2.0  # times as long as it took to take in a piece of a form
LONGEST_REST = 0.02
NO_SUCH_FILE = Sentence("There is no such file.")
NO_FORM = Sentence('The body must be a form with "session_id", "user_input" and, for each file, "files".')
NO_DATA_URL = Sentence("data: must be a data URL in base64.")
_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "application/pdf": ".pdf"}  # the types that are ever served
_DATA_URL = re.compile(r"data:[\w!#$&^.+/-]*(?:;[\w!#$&^.+-]+=[^;,]*)*;base64,")


class FileBody(BaseModel):
    """A file in JSON."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_CLAIMED_NAME, examples=["whiteboard.jpg"])]
    data: Annotated[
        str,
        Field(
            description="A data URL in base64. Of what type the file is, its first bytes tell.",
            json_schema_extra={
                "pattern": r"^data:[\w!#$&^.+/-]*(;[\w!#$&^.+-]+=[^;,]*)*;base64,"
                r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
            },
            examples=["data:text/plain;base64,SGVsbG8="],
        ),
    ]


class FileNote(BaseModel):
    """A file of a question, and why it could not be read, if so."""

    id: Annotated[
        str | None,
        Field(
            description="Of what is kept of it, to be fetched from its session; null: nothing is, or it is not told.",
            examples=["0b6e7c1f5a9d4e3c8b2a7f6d5c4e3b2a"],
        ),
    ]
    name: Annotated[str, Field(examples=["whiteboard.jpg"])]
    kind: Annotated[str, Field(description="What it is, by its first bytes.", examples=["picture"])]
    size: Annotated[int, Field(description="In bytes, as it was sent.", examples=[204_800])]
    problem: Annotated[str | None, Field(description="Why the assistant cannot read it.", examples=[None])]
    heard: Annotated[
        str | None,
        Field(description="The beginning of what is said in a recording; null: it is none.", examples=[None]),
    ]

    @classmethod
    def all_of(cls, attachments: Sequence[Attachment], language: str, *, may_fetch: bool) -> list[dict[str, Any]]:
        """What is told of these attachments, as JSON, in a language where it is in our own words."""
        return [
            cls(
                id=each.id if may_fetch and each.problem is None else None,
                name=each.name, kind=each.kind, size=each.size, heard=each.heard or None,
                problem=each.problem and problem_of_a_file(each.problem).in_language(language),
            ).model_dump()
            for each in attachments
        ]  # fmt: skip


# A phone offers its camera for the first ones, and takes a JPEG with it.
TYPES = [
    "image/png", "image/jpeg", "image/gif", "image/webp", ".heic", ".avif", ".bmp", ".pdf", ".docx", ".xlsx", ".pptx",
    ".odt", ".ods", ".odp", ".zip", "text/*", ".txt", ".md", ".csv", ".tsv", ".log", ".json", ".xml", ".svg", ".yaml",
    ".yml", ".toml", ".ini", ".sql", ".py", ".js", ".ts", ".java", ".c", ".h", ".cpp", ".go", ".rs", ".sh",
]  # fmt: skip
TYPES_OF_RECORDINGS = ["audio/*", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav", ".weba"]


class Limits(BaseModel):
    """How long a question may be, how many files go with it, and how large they may be. 0 files: none are taken."""

    characters_of_a_question: Annotated[int, Field(description="Of what is asked.", examples=[32_000])]
    files: Annotated[int, Field(examples=[10])]
    bytes_of_a_file: Annotated[int, Field(description="A larger one is not read.", examples=[20_000_000])]
    bytes_of_a_question: Annotated[int, Field(description="Of all its files together.", examples=[50_000_000])]
    types: Annotated[
        list[str],
        Field(
            description="What is read, as `accept` of an `<input>` has it. Any other text is as well.",
            examples=[TYPES[:5]],
        ),
    ] = TYPES

    @classmethod
    def by(cls, settings: Settings) -> Limits:
        """What the settings say."""
        limits = settings.file_limits
        types = [*TYPES, *TYPES_OF_RECORDINGS] if settings.transcribes else TYPES
        return cls(
            characters_of_a_question=settings.max_question_characters,
            files=limits.files, bytes_of_a_file=min(limits.of_a_file, limits.of_a_turn),
            bytes_of_a_question=limits.of_a_turn, types=types,
        )  # fmt: skip


WORDS_OR_FILES: list[Any] = [
    {"required": ["user_input"], "properties": {"user_input": {"pattern": r"^[^\x00]*[^\s\x00][^\x00]*$"}}},
    {
        "required": [FIELD],
        "properties": {FIELD: {"minItems": 1}, "user_input": {"pattern": r"^\s*$"}},
    },
    {"required": ["replaces"], "properties": {"replaces": {"type": "string"}, "user_input": {"pattern": r"^\s*$"}}},
]
"""A question in JSON or in a form has words in it, or none and files, or none and asks once more what was asked."""
FORM_DESCRIBED: dict[str, Any] = {
    "requestBody": {
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["session_id"],
                    "additionalProperties": False,
                    "properties": {
                        "session_id": {
                            "type": "string", "minLength": 1, "maxLength": 200, "format": "printable",
                            "examples": ["12345"],
                        },
                        "user_input": {"type": "string", "examples": ["What is in this picture?"]},
                        "time_zone": {"type": "string", "maxLength": 100, "examples": ["Europe/Berlin"]},
                        "replaces": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                        FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}},
                    },
                    "anyOf": WORDS_OR_FILES,
                }
            }
        }
    }
}  # fmt: skip


class Form:
    """A question as a form, with files that the system keeps until `close`."""

    def __init__(self, fields: dict[str, str], uploads: Sequence[UploadFile]) -> None:
        self.fields = fields
        self._uploads = uploads

    @classmethod
    async def read(cls, request: Request, most_files: int, one_piece: asyncio.Lock) -> Form:
        """Read the body, files into files of the system, while no other form with the same lock takes in a piece.

        Raises HTTPException where it is no such form.
        """
        try:
            async with contextlib.aclosing(_in_turn(request, one_piece, lambda: parser.is_whole)) as pieces:
                parser = _FormParser(
                    request.headers, pieces, max_files=most_files + 1, max_fields=MOST_FIELDS,
                    max_part_size=LONGEST_FIELD_BYTES,
                )  # fmt: skip
                parsed = await parser.parse()
        except (MultiPartException, KeyError, ValueError) as error:
            if "Too many files" in str(getattr(error, "message", "")):
                raise HTTPException(422, Sentence("These are more than {most} files.", most=most_files)) from None
            raise HTTPException(422, NO_FORM) from None
        uploads = [value for _, value in parsed.multi_items() if isinstance(value, UploadFile)]
        form = cls({name: value for name, value in parsed.multi_items() if isinstance(value, str)}, uploads)
        is_ours = all((name == FIELD) == isinstance(value, UploadFile) for name, value in parsed.multi_items())
        if not is_ours or set(form.fields) - FIELDS:
            form.close()
            raise HTTPException(422, NO_FORM)
        return form

    async def given(self) -> list[GivenFile]:
        """The files, as they can be asked about."""
        chosen = [each for each in self._uploads if each.filename or each.size]  # else nobody chose any in that field
        return [await asyncio.to_thread(GivenFile.measured, each.filename or "", each.file) for each in chosen]

    def close(self) -> None:
        """Let go of the files."""
        for each in self._uploads:
            each.file.close()


class _FormParser(MultiPartParser):
    """Parses a form, which `is_whole` once its last boundary has come."""

    is_whole = False

    def on_end(self) -> None:
        self.is_whole = True


async def _in_turn(
    request: Request, one_piece: asyncio.Lock, is_whole: Callable[[], bool]
) -> AsyncGenerator[bytes, None]:
    """The body, of which a piece is taken in while none of another form is: for one alone waits who sends no files.

    Raises MultiPartException where the form is not whole in the end: files may be missing then.
    """
    async for piece in request.stream():
        async with one_piece:
            began = asyncio.get_running_loop().time()
            yield piece
            took = asyncio.get_running_loop().time() - began
            await asyncio.sleep(min(RESTS * took, LONGEST_REST))  # which is others' turn
    if not is_whole():
        raise MultiPartException("It is cut off.")


@contextlib.asynccontextmanager
async def decoded(files: Sequence[FileBody]) -> AsyncIterator[list[GivenFile]]:
    """Files in JSON, as they can be asked about within the block. Raises HTTPException where one is none."""
    with contextlib.ExitStack() as opened:
        given = []
        for each in files:
            file = opened.enter_context(tempfile.TemporaryFile())
            given.append(await asyncio.to_thread(_measured, each, file))  # which takes longer than others should wait
        yield given


def _measured(body: FileBody, file: BinaryIO) -> GivenFile:
    """A file in JSON, written to this one. Raises HTTPException."""
    for piece in _pieces(body.data):
        file.write(piece)
    return GivenFile.measured(body.name, file)


def _pieces(url: str) -> Iterator[bytes]:
    """What a data URL holds. Raises HTTPException."""
    begins = _DATA_URL.match(url)
    if begins is None:
        raise HTTPException(422, NO_DATA_URL)
    try:
        for at in range(begins.end(), len(url), BYTES_AT_ONCE):  # a multiple of four characters
            yield binascii.a2b_base64(url[at : at + BYTES_AT_ONCE], strict_mode=True)
    except (binascii.Error, ValueError):
        raise HTTPException(422, NO_DATA_URL) from None


# ── taken out again ──────────────────────────────────────────────────────────────────────────────────────────────────


file_routes = APIRouter()


@file_routes.get("/limits", summary="How large may questions and files be?")
async def limits(request: Request) -> Limits:
    """What a question may be, and what may come with it. Nobody needs a key for this."""
    told: Limits = request.app.state.limits
    return told


async def download(chat: Chat, attachment: Attachment) -> Response:
    """What is kept of a file, to be saved: never as a type that a browser would run. Raises HTTPException."""
    pieces = chat.kept_of(attachment)
    first = await anext(pieces, None)
    if first is None:
        raise HTTPException(404, NO_SUCH_FILE)
    is_text = attachment.media_type not in _SUFFIXES
    suffix = ".txt" if is_text else _SUFFIXES[attachment.media_type]
    name = attachment.name if attachment.name.lower().endswith(suffix) else attachment.name + suffix
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": f"{SAFE_HEADERS['Content-Security-Policy']}; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
    if is_text:
        return Response(first, media_type="text/plain", headers=headers)

    async def all_pieces() -> AsyncIterator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    headers["Content-Length"] = str(attachment.kept)
    return StreamingResponse(all_pieces(), media_type=attachment.media_type, headers=headers)
