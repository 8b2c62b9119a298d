"""Files that come with a question over HTTP: in a form as browsers send it, or as data URLs in JSON."""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import re
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated, Any

from fastapi import Request
from pydantic import BaseModel, Field
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser

from core import Attachment, GivenFile

FORM = "multipart/form-data"
FIELD = "files"
LONGEST_FIELD_BYTES = 1_000_000
MOST_FIELDS = 10
LONGEST_CLAIMED_NAME = 1_000
BYTES_AT_ONCE = 1 << 20
NO_FORM = 'The body must be a form with "session_id", "user_input" and, for each file, "files".'
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

    name: Annotated[str, Field(examples=["whiteboard.jpg"])]
    kind: Annotated[str, Field(description="What it is, by its first bytes.", examples=["picture"])]
    size: Annotated[int, Field(description="In bytes, as it was sent.", examples=[204_800])]
    problem: Annotated[str | None, Field(description="Why the assistant cannot read it.", examples=[None])]

    @classmethod
    def all_of(cls, attachments: Sequence[Attachment]) -> list[dict[str, Any]]:
        """What is told of these attachments, as JSON."""
        return [cls(name=e.name, kind=e.kind, size=e.size, problem=e.problem).model_dump() for e in attachments]


FORM_DESCRIBED: dict[str, Any] = {
    "requestBody": {
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["session_id", "user_input"],
                    "additionalProperties": False,
                    "properties": {
                        "session_id": {
                            "type": "string", "minLength": 1, "maxLength": 200, "format": "printable",
                            "examples": ["12345"],
                        },
                        "user_input": {
                            "type": "string", "minLength": 1, "pattern": r"^[^\x00]*[^\s\x00][^\x00]*$",
                            "examples": ["What is in this picture?"],
                        },
                        FIELD: {"type": "array", "items": {"type": "string", "format": "binary"}},
                    },
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
    async def read(cls, request: Request, most_files: int) -> Form:
        """Read the body, files into files of the system. Raises HTTPException where it is no such form."""
        parser = MultiPartParser(
            request.headers, request.stream(), max_files=most_files + 1, max_fields=MOST_FIELDS,
            max_part_size=LONGEST_FIELD_BYTES,
        )  # fmt: skip
        try:
            parsed = await parser.parse()
        except (MultiPartException, KeyError, ValueError) as error:
            if "Too many files" in str(getattr(error, "message", "")):
                raise HTTPException(422, f"These are more than {most_files} files.") from None
            raise HTTPException(422, NO_FORM) from None
        uploads = [value for _, value in parsed.multi_items() if isinstance(value, UploadFile)]
        form = cls({name: value for name, value in parsed.multi_items() if isinstance(value, str)}, uploads)
        is_ours = all((name == FIELD) == isinstance(value, UploadFile) for name, value in parsed.multi_items())
        if not is_ours or set(form.fields) - {"session_id", "user_input"}:
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


@contextlib.asynccontextmanager
async def decoded(files: Sequence[FileBody]) -> AsyncIterator[list[GivenFile]]:
    """Files in JSON, as they can be asked about within the block. Raises HTTPException where one is none."""
    with contextlib.ExitStack() as opened:
        given = []
        for each in files:
            file = opened.enter_context(tempfile.TemporaryFile())
            for piece in _pieces(each.data):
                file.write(piece)
            given.append(await asyncio.to_thread(GivenFile.measured, each.name, file))
        yield given


def _pieces(url: str) -> Iterator[bytes]:
    """What a data URL holds. Raises HTTPException."""
    begins = _DATA_URL.match(url)
    if begins is None:
        raise HTTPException(422, "data: must be a data URL in base64.")
    try:
        for at in range(begins.end(), len(url), BYTES_AT_ONCE):  # a multiple of four characters
            yield base64.b64decode(url[at : at + BYTES_AT_ONCE], validate=True)
    except (binascii.Error, ValueError):
        raise HTTPException(422, "data: must be a data URL in base64.") from None
