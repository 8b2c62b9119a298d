"""Files at servers that are somewhat like OpenAI: what one does not take, its model is told of in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core import Finished
from core.assistants import Assistant
from core.language_model import Ask, Enclosure, ModelTrouble, Said, TroubleKind
from core.openai_model.errors import FILE_CODES
from tests.core.test_openai_model import model_at, news_of
from tests.fakes.compatible_servers import CHAT, RESPONSES, Json, Says, Server, error, running

IMAGE = Enclosure("images", "a.png", "image/png", b"\x89PNG", "LINE OF A", "INSTEAD OF A")
PDF = Enclosure("pdf", "b.pdf", "application/pdf", b"%PDF-", "LINE OF B", "TEXT OF B")


WORDS = ("LINE OF A", "INSTEAD OF A", "LINE OF B", "TEXT OF B")


def asked_with(*files: Enclosure, reads: Any = None) -> Ask:
    assistant = Assistant(name="Ann", model="a-model", instructions="Be brief.", reads=reads)
    return Ask(assistant, "Be brief.", [Said("user", "Q1", files)], "digest")


def parts_in(body: Json) -> list[str]:
    """The types of the parts of a question that hold files."""
    content = (body.get("input") or body["messages"])[-1]["content"]
    parts = [] if isinstance(content, str) else content
    return [part["type"] for part in parts if part["type"] not in ("text", "input_text")]


def takes_no(kind: str, refusal: Says) -> Server:
    """A server that refuses parts of this kind."""
    return Server(lambda _, body: refusal if f'"{kind}"' in json.dumps(body) else None)


NO_PICTURES = {
    "llama.cpp": error(500, "image input is not supported - hint: you may need to provide the mmproj"),
    "vLLM": error(400, "a-model is not a multimodal model", type="BadRequestError"),
    "vLLM, none": error(400, "At most 0 image(s) may be provided in one prompt."),
    "OpenRouter": error(404, "No endpoints found that support image input"),
    "OpenAI": error(400, "Invalid content type. image_url is only supported by certain models.", param="input"),
    "DeepSeek": error(400, "Failed to deserialize: messages[1]: unknown variant `image_url`, expected `text`"),
    "Groq": error(400, "'messages.1' : for 'role:user' ... [('messages.1.content' : value must be a string)]"),
    "Ollama": error(500, "this model is missing data required for image input"),
}  # fmt: skip


@pytest.mark.parametrize("api", ["responses", "chat"])
@pytest.mark.parametrize("name", NO_PICTURES)
async def test_a_model_that_takes_no_pictures_is_told_of_them_and_asked_so_from_then_on(name: str, api: Any) -> None:
    kind = "input_image" if api == "responses" else "image_url"
    async with running(takes_no(kind, NO_PICTURES[name])) as server, model_at(server.base_url, api=api) as model:
        for _ in range(2):
            assert isinstance((await news_of(model, asked_with(IMAGE)))[-1], Finished)
    assert [parts_in(each.body) for each in server.asked] == [[kind], [], []]
    assert [each.status >= 400 for each in server.asked] == [True, False, False]
    assert all("INSTEAD OF A" in json.dumps(each.body) for each in server.asked[1:])


@pytest.mark.parametrize(
    ("api", "reads", "parts"),
    [
        ("responses", None, ["input_image"]),
        ("responses", ("images", "pdf"), ["input_image", "input_file"]),
        ("responses", (), []),
        ("chat", None, ["image_url"]),
        ("chat", ("pdf",), ["file"]),
    ],
)
async def test_files_go_along_in_the_form_of_the_api_as_far_as_the_model_reads_them(
    api: Any, reads: Any, parts: list[str]
) -> None:
    async with running(Server()) as server, model_at(server.base_url, api=api) as model:
        await news_of(model, asked_with(IMAGE, PDF, reads=reads))
    (asked,) = server.asked
    assert asked.path == (RESPONSES if api == "responses" else CHAT)
    assert parts_in(asked.body) == parts
    told = json.dumps(asked.body)
    of_a = "LINE OF A" if {"input_image", "image_url"} & set(parts) else "INSTEAD OF A"
    of_b = "LINE OF B" if {"input_file", "file"} & set(parts) else "TEXT OF B"
    assert [each for each in WORDS if each in told] == [of_a, of_b]


ONE_OF_THEM = {
    "OpenAI": error(400, "No.", code="invalid_image_format"),
    "OpenAI, in words": error(
        400, "You uploaded an unsupported image. Please make sure your image has of one the following formats: ['png']."
    ),
    **{code: error(400, "This image is not supported.", code=code) for code in sorted(FILE_CODES)},
    "OpenAI, a file": error(400, "Invalid input: Expected file type to be a supported format: .pdf but got .bin."),
    "vLLM": error(400, "cannot identify image file <_io.BytesIO object at 0x7f>"),
}


@pytest.mark.parametrize("name", ONE_OF_THEM)
async def test_a_server_that_refuses_one_picture_is_sent_the_next_one(name: str) -> None:
    async with running(Server()) as server, model_at(server.base_url, api="responses") as model:
        server.instead = [ONE_OF_THEM[name]]
        with pytest.raises(ModelTrouble) as caught:
            await news_of(model, asked_with(IMAGE, PDF, reads=("images", "pdf")))
        assert caught.value.kind is TroubleKind.FILES_REFUSED_UNWRITTEN
        await news_of(model, asked_with(IMAGE, PDF, reads=("images", "pdf")))
    assert [parts_in(each.body) for each in server.asked] == [["input_image", "input_file"]] * 2
