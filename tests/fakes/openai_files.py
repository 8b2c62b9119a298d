"""Pictures and files in messages, as OpenAI takes them: their shape, their kinds, and what they cost.

Documented: images are PNG, JPEG, WEBP or GIF; `detail` is required of one in a message; a token is 32 by 32 pixels; all
files of a request have less than 50 MB; a file has a name, whose ending says its kind.
"""

import base64
import binascii
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from PIL import Image, UnidentifiedImageError

Json = dict[str, Any]

DETAILS = {"input_image": ("low", "high", "auto", "original"), "input_file": ("low", "high", "auto", None)}
DATA_URL = re.compile(r"data:([\w/.+-]+);base64,(.*)", re.DOTALL)
MOST_BYTES = 50_000_000
TOKENS_OF_A_PAGE = 1_500
FORMATS = ("PNG", "JPEG", "GIF", "WEBP")


class BadFile(Exception):
    """What is wrong with a file: a code of the API, and words. `is_form` says that no client should send it."""

    def __init__(self, code: str, words: str, *, is_form: bool = False) -> None:
        super().__init__(words)
        self.code = code
        self.is_form = is_form


def files_of(items: Sequence[Mapping[str, Any]]) -> list[tuple[str, bytes]]:
    """The pictures and files of messages, in order: "image/png" or a file's name, and the bytes."""
    return [(_called(part), _bytes_of(part)) for item in items for part in _parts_of(item)]


def check_part(part: Json) -> None:
    """Come back if the API would take this picture or file. Raises BadFile."""
    kind = part["type"]
    if kind not in DETAILS:
        return
    if part.get("detail") not in DETAILS[kind]:
        raise BadFile("invalid_value", f"Invalid value for 'detail': {part.get('detail')!r}.", is_form=True)
    if kind == "input_image":
        _check_image(part)
    elif not part.get("filename") or "file_data" not in part:
        raise BadFile("missing_required_parameter", "Missing 'filename' or 'file_data'.", is_form=True)
    elif not (part["filename"].lower().endswith(".pdf") and _bytes_of(part).startswith(b"%PDF-")):
        raise BadFile("unsupported_file", "Invalid input: Expected file type to be a supported format: .pdf")


def check_sizes(items: Sequence[Mapping[str, Any]]) -> None:
    """Come back if the files of a request are not too large together. Raises BadFile."""
    if sum(len(_bytes_of(part)) for item in items for part in _parts_of(item)) >= MOST_BYTES:
        raise BadFile("file_too_large", "The files of a request must be smaller than 50 MB together.", is_form=True)


def tokens_of_files(items: Sequence[Mapping[str, Any]]) -> int:
    """What their pictures and pages cost."""
    return sum(_tokens_of(part) for item in items for part in _parts_of(item))


def _tokens_of(part: Mapping[str, Any]) -> int:
    data = _bytes_of(part)
    if part["type"] == "input_file":
        return len(re.findall(rb"/Type */Page\b", data)) * TOKENS_OF_A_PAGE
    width, height = Image.open(io.BytesIO(data)).size
    return math.ceil(width / 32) * math.ceil(height / 32)


def _check_image(part: Json) -> None:
    data = _bytes_of(part)
    if not data:
        raise BadFile("empty_image_file", "The image is empty.")
    try:
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise BadFile("invalid_image_format", "You uploaded an unsupported image.") from None
    if image.format not in FORMATS or getattr(image, "is_animated", False):
        raise BadFile("invalid_image_format", "You uploaded an unsupported image.")


def _parts_of(item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    content = item.get("content")
    for part in content if isinstance(content, list) else ():
        if isinstance(part, dict) and part.get("type") in DETAILS:
            yield part


def _called(part: Mapping[str, Any]) -> str:
    found = DATA_URL.fullmatch(str(part.get("image_url")))
    return str(part["filename"]) if part["type"] == "input_file" else found[1] if found else "?"


def _bytes_of(part: Mapping[str, Any]) -> bytes:
    """What a data URL holds; no other URL is known here, since Bob must never send one. Raises BadFile."""
    found = DATA_URL.fullmatch(str(part.get("image_url" if part["type"] == "input_image" else "file_data")))
    if found is None:
        raise BadFile("invalid_image_url", "Expected a data URL.", is_form=True)
    try:
        return base64.b64decode(found[2], validate=True)
    except binascii.Error:
        raise BadFile("invalid_base64_image", "Invalid base64.", is_form=True) from None
