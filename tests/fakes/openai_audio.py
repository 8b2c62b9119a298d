"""Recordings as OpenAI transcribes them: the form that it takes, what it refuses, and how it answers.

Documented: a file of at most 25 MB, whose name ends as one of its formats does; `keywords[]` and `languages[]` are for
gpt-transcribe, which takes no `language`; a keyword holds no `<`, `>` or line end; gpt-transcribe answers in JSON, and
tells how many seconds it heard.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.fakes.openai_state import ApiError, invalid

Json = dict[str, Any]

PATH = "/audio/transcriptions"
MODELS = ("gpt-transcribe", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "whisper-1")
MOST_BYTES = 25 * 1024 * 1024
FIELDS = {
    "file", "model", "prompt", "keywords[]", "languages[]", "language", "response_format", "stream",
    "chunking_strategy", "temperature", "include[]",
}  # fmt: skip
BEGINS = {  # by the ending of a name, how a file of that kind begins
    "flac": b"fLaC", "mp3": b"ID3|\xff[\xfa\xfb\xf2\xf3]", "mpga": b"ID3|\xff[\xfa\xfb\xf2\xf3]", "mpeg": b"ID3|\xff",
    "mp4": b"....ftyp", "m4a": b"....ftyp", "ogg": b"OggS", "wav": b"RIFF....WAVE", "webm": b"\x1aE\xdf\xa3",
}  # fmt: skip
BROKEN = b"broken"  # in a recording that the API finds damaged


@dataclass(frozen=True)
class Spoken:
    """A recording that was sent, and what was sent with it."""

    file_name: str
    media_type: str
    data: bytes
    model: str
    keywords: tuple[str, ...]


def spoken_in(headers: Mapping[str, str], body: bytes) -> Spoken:
    """What a request has to be transcribed. Raises ApiError where the API takes it not."""
    fields: dict[str, list[str]] = {}
    file: tuple[str, str, bytes] | None = None
    for name, file_name, media_type, data in _parts(headers, body):
        if name not in FIELDS:
            raise invalid(f"Unrecognized request argument supplied: {name}", name)
        if name == "file":
            file = file_name, media_type, data
        else:
            fields.setdefault(name, []).append(data.decode())
    if file is None or not fields.get("model"):
        raise invalid("you must provide a model parameter and a file")
    model = fields["model"][0]
    if model not in MODELS:
        raise ApiError(404, f"The model `{model}` does not exist or you do not have access to it.", "model",
                       "model_not_found")  # fmt: skip
    _check_fields(model, fields)
    _check_file(*file)
    return Spoken(*file, model, tuple(fields.get("keywords[]", ())))


def told(text: str, seconds: float) -> Json:
    """How the API answers."""
    return {"text": text, "languages": [{"code": "en"}], "usage": {"type": "duration", "seconds": seconds}}


def _check_fields(model: str, fields: Mapping[str, list[str]]) -> None:
    is_new = model == "gpt-transcribe"
    if is_new and "language" in fields:
        raise invalid("'language' is not supported by gpt-transcribe: use 'languages'.", "language")
    if not is_new and ("keywords[]" in fields or "languages[]" in fields):
        raise invalid(f"'keywords' and 'languages' are not supported by {model}.", "keywords")
    if any(re.search(r"[<>\r\n]", word) for word in fields.get("keywords[]", ())):
        raise invalid("A keyword holds a character that is not allowed.", "keywords")
    if is_new and fields.get("response_format", ["json"]) != ["json"]:
        raise invalid("response_format must be 'json'.", "response_format")


def _check_file(file_name: str, media_type: str, data: bytes) -> None:
    if len(data) > MOST_BYTES:
        told = f"Maximum content size limit ({MOST_BYTES}) exceeded ({len(data)} bytes read)"
        raise ApiError(413, told, blames=True)
    ending = file_name.rpartition(".")[2].lower() if "." in file_name else ""
    if ending not in BEGINS:
        raise invalid(f"Invalid file format. Supported formats: {sorted(BEGINS)}", "file")
    if not media_type.startswith("audio/"):
        raise invalid(f"Invalid content type: {media_type}", "file")
    if not re.match(BEGINS[ending], data, re.DOTALL) or BROKEN in data:
        raise ApiError(400, "Audio file might be corrupted or unsupported", "file", "invalid_value")


def _parts(headers: Mapping[str, str], body: bytes) -> list[tuple[str, str, str, bytes]]:
    """The parts of a form: its name, the name and type of the file that it is, and what it holds."""
    found = re.fullmatch(r"multipart/form-data; boundary=([\w-]+)", headers.get("content-type", ""))
    if found is None:
        raise invalid("The body must be multipart/form-data.")
    mark = f"--{found[1]}".encode()
    first, *parts, last = body.split(mark)
    if first or last != b"--\r\n":
        raise invalid("The form is not whole.")
    return [_part(part) for part in parts]


def _part(part: bytes) -> tuple[str, str, str, bytes]:
    head, _, data = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    found = re.search(r'name="([^"]*)"(?:; filename="([^"]*)")?', head.decode())
    media_type = re.search(r"(?im)^content-type: (.*?)\r?$", head.decode())
    if found is None or not data.endswith(b"\r\n"):
        raise invalid("A part of the form has no name, or no end.")
    return found[1], found[2] or "", media_type[1] if media_type else "", data.removesuffix(b"\r\n")
