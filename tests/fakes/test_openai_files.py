"""The fake takes pictures and files as OpenAI says that it does, refuses the rest in its words, and counts them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from tests.core.fixtures.files import film, pdf, picture
from tests.fakes import specs
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.openai_files import TOKENS_OF_A_PAGE
from tests.fakes.test_openai_api import MODEL, call

Part = dict[str, Any]


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(data: bytes, **more: Any) -> Part:
    return {"type": "input_image", "image_url": url(data), "detail": "high", **more}


def file(data: bytes, **more: Any) -> Part:
    return {"type": "input_file", "filename": "a.pdf", "file_data": url(data, "application/pdf"), **more}


def asked(*parts: Part) -> Part:
    content = [{"type": "input_text", "text": "Q1-a"}, *parts]
    return {"model": MODEL, "input": [{"type": "message", "role": "user", "content": content}]}


REFUSED: dict[str, tuple[Callable[[], Part], str, bool]] = {  # a part, the code, and whether no client should send it
    "no detail": (lambda: {**image(picture()), "detail": None}, "invalid_value", True),
    "a picture that is none": (lambda: image(b"hello"), "invalid_image_format", False),
    "a picture of a kind that is not taken": (lambda: image(picture("TIFF")), "invalid_image_format", False),
    "a film": (lambda: image(film()), "invalid_image_format", False),
    "an empty picture": (lambda: image(b""), "empty_image_file", False),
    "no base64": (lambda: image(b"", image_url="data:image/png;base64,!"), "invalid_base64_image", True),
    "an address": (lambda: image(b"", image_url="https://shop.example/a.png"), "invalid_image_url", True),
    "a file without a name": (lambda: file(pdf(), filename=""), "missing_required_parameter", True),
    "a file of another kind": (lambda: file(b"MZ"), "unsupported_file", False),
    "a file by another name": (lambda: file(pdf(), filename="a.exe"), "unsupported_file", False),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_openai_would_refuse_is_refused(name: str) -> None:
    make, code, is_form = REFUSED[name]
    with FakeOpenAI(check=False) as fake:
        for path, body in (("/responses", asked(make())), ("/conversations", {"items": asked(make())["input"]})):
            refused = call(fake, "POST", path, body)
            assert (refused.status, refused.error["code"]) == (400, code)
    assert bool(fake.violations) == is_form


def test_pictures_and_pages_are_counted_as_tokens_and_told_to_the_model() -> None:
    seen: list[list[str]] = []
    with FakeOpenAI() as fake:
        fake.answer = lambda each: seen.append([name for name, _ in each.files]) or "Well."  # type: ignore[func-returns-value]
        bare, full = (
            call(fake, "POST", "/responses", body).json["usage"]["input_tokens"]
            for body in (asked(), asked(image(picture(size=(1_600, 1_200))), file(pdf(3))))
        )
    assert full - bare == 1_900 + 3 * TOKENS_OF_A_PAGE
    assert seen == [[], ["image/png", "a.pdf"]]
    assert fake.violations == []


@pytest.mark.skipif(not specs.available(), reason="OpenAI's description is not here")
@pytest.mark.parametrize(
    ("part", "offends"),
    [
        (image(picture()), False),
        (file(pdf()), False),
        ({**image(picture()), "detail": "enormous"}, True),
        ({"type": "input_image", "image_url": url(picture())}, True),
        ({"type": "input_picture"}, True),
    ],
)
def test_a_file_is_judged_by_openai_s_own_description(part: Part, offends: bool) -> None:
    assert bool(specs.openai_violations("POST", "/responses", asked(part))) == offends
