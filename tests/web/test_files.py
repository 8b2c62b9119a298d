"""Files over HTTP: as a form and in JSON, once for each key, and what became of them."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import mimetypes
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message

import web.files
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents, rows
from tests.core.fixtures.files import BIDI, READABLE, UNREADABLE, ogg, pdf, picture
from tests.core.test_files import kinds, seen, stored, texts
from tests.fakes.openai_api import FakeOpenAI
from tests.web.conftest import Site, served
from web.files import TYPES, FileBody, Form, decoded

Reply = tuple[int, dict[str, Any]]


def form(text: str, files: dict[str, bytes], session: str = "1", field: str = "files") -> aiohttp.FormData:
    """A question as browsers send it."""
    written = aiohttp.FormData(quote_fields=False)
    written.add_field("session_id", session)
    written.add_field("user_input", text)
    for name, data in files.items():
        claimed = {"filename": name, "content_type": "text/html"}  # which is not believed
        written.add_field(field, io.BytesIO(data), **claimed)
    return (
        written
        if files
        else aiohttp.FormData([("session_id", session), ("user_input", text)], default_to_multipart=True)
    )


async def by_form(site: Site, data: aiohttp.FormData, **headers: str) -> Reply:
    async with site.http.post("/ask", data=data, headers=headers) as response:
        return response.status, await response.json()


def data_url(data: bytes, media_type: str = "text/html") -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


async def by_json(site: Site, text: str, files: dict[str, bytes], **headers: str) -> Reply:
    in_json = [{"name": name, "data": data_url(data)} for name, data in files.items()]
    body = {"session_id": "1", "user_input": text, "files": in_json}
    async with site.post(body, headers=headers) as response:
        return response.status, await response.json()


@pytest.mark.parametrize("way", ["form", "JSON"])
async def test_a_question_is_asked_with_its_files_and_told_what_became_of_them(
    way: str, fake: FakeOpenAI, database_url: str
) -> None:
    asked = seen(fake)
    files = {"a.html": picture(), f"b{BIDI}.pdf": pdf(), "c.txt": b"", "d.txt": b"hello"}
    async with served(fake, database_url) as site:
        if way == "form":
            status, answer = await by_form(site, form("Q1-a", files))
        else:
            status, answer = await by_json(site, "Q1-a", files)
        assert (status, answer["response"]) == (200, "Well.")
        notes = [(each["name"], each["kind"], each["size"], each["problem"]) for each in answer["files"]]
        assert notes == [
            ("a.html", "picture", len(picture()), None),
            ("b.pdf", "PDF", len(pdf()), None),
            ("c.txt", "file", 0, "it is empty"),
            ("d.txt", "text", 5, None),
        ]
        assert kinds(asked[0].files) == ["image/png", "b.pdf"]
        assert "files" not in (await site.ask("Q2-a"))[1]


async def test_a_stream_begins_with_what_became_of_the_files(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    async with served(fake, sqlite_url) as site:
        data = form("Q1-a", {"a.png": picture(), "b.txt": b""})
        async with site.http.post("/ask", data=data, headers={"Accept": "text/event-stream"}) as response:
            events = (await response.text()).split("\n\n")
        began = json.loads(events[0].partition("data: ")[2])
        assert [(each["name"], each["problem"]) for each in began["files"]] == [
            ("a.png", None), ("b.txt", "it is empty"),
        ]  # fmt: skip
        assert events[-2].startswith("event: done")


async def test_a_form_may_name_a_time_zone(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    async with served(fake, sqlite_url) as site:
        data = form("Q1-a", {"a.txt": b"1"})
        data.add_field("time_zone", "Europe/Berlin")
        assert (await by_form(site, data))[0] == 200
    (asked,) = (each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses"))
    assert " in Europe/Berlin.)" in str(asked)


async def test_the_transcript_names_the_files_of_each_question(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    async with served(fake, sqlite_url, api_keys="alice:a-secret-of-the-test") as site:
        site.http.headers["Authorization"] = "Bearer a-secret-of-the-test"
        await by_form(site, form("Q1-a", {"a.png": picture()}))
        await site.answer("Q2-a")
        _, transcript = await site.get("/sessions/1/turns")
        assert [[file["name"] for file in turn["files"]] for turn in transcript["turns"]] == [["a.png"], []]
        async with site.http.delete("/sessions/1") as response:
            assert response.status == 204
    assert stored(sqlite_url) == (0, 0)


async def test_why_a_file_was_not_read_is_told_in_the_language_of_who_asks(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    german = {"Accept-Language": "de"}
    async with served(fake, sqlite_url, api_keys="alice:a-secret-of-the-test") as site:
        site.http.headers["Authorization"] = "Bearer a-secret-of-the-test"
        _, answer = await by_form(site, form("Q1-a", {"a.txt": b""}), **german)
        _, transcript = await site.get("/sessions/1/turns", **german)
        _, in_english = await site.get("/sessions/1/turns")
    assert answer["files"][0]["problem"] == transcript["turns"][0]["files"][0]["problem"] == "sie ist leer"
    assert in_english["turns"][0]["files"][0]["problem"] == "it is empty"


@pytest.mark.one_in(3)
@pytest.mark.parametrize("name", UNREADABLE)
async def test_a_file_that_cannot_be_read_costs_nothing_else(name: str, fake: FakeOpenAI, sqlite_url: str) -> None:
    asked = seen(fake)
    make, why = UNREADABLE[name]
    async with served(fake, sqlite_url) as site:
        status, answer = await by_form(site, form("Q1-a", {name: make(), "a.png": picture()}))
    assert status == 200
    assert why in answer["files"][0]["problem"]
    assert answer["files"][1]["problem"] is None
    assert why in asked[0].question
    assert stored(sqlite_url) == (2, 1)


async def test_the_same_key_is_the_same_question_with_the_same_files(fake: FakeOpenAI, database_url: str) -> None:
    asked = seen(fake)
    async with served(fake, database_url) as site:
        key = {"Idempotency-Key": "k"}
        first = await by_form(site, form("Q1-a", {"a.txt": b"1"}), **key)
        assert first == await by_form(site, form("Q1-a", {"a.txt": b"1"}), **key)
        assert first == await by_json(site, "Q1-a", {"a.txt": b"1"}, **key)
        assert first[0] == 200
        for files in ({}, {"a.txt": b"2"}, {"b.txt": b"1"}):
            status, refused = await by_form(site, form("Q1-a", files), **key)
            assert (status, refused["detail"][-12:]) == (422, "other files.")
    assert len(asked) == 1
    assert stored(database_url) == (1, 0)


@pytest.mark.parametrize(
    ("files", "status", "sentence"),
    [
        ({f"{number}.txt": b"1" for number in range(3)}, 422, "These are more than 2 files."),
        ({"a.txt": b"1" * 20_000}, 413, "These files are larger than 15,000 bytes together."),
        ({"a.txt": b"1" * 40_000}, 413, "The body is larger than 35,000 bytes."),
    ],
)
async def test_more_than_may_be_is_refused_by_a_sentence(
    files: dict[str, bytes], status: int, sentence: str, sqlite_url: str
) -> None:
    bounds: dict[str, Any] = {"max_files_of_a_turn": 2, "max_file_bytes_of_a_turn": 15_000, "max_body_bytes": 20_000}
    async with served(None, sqlite_url, **bounds) as site:
        assert await by_form(site, form("Q1-a", files)) == (status, {"detail": sentence})
    assert rows(sqlite_url, "SELECT id FROM turn") == []


@pytest.mark.parametrize(
    ("written", "status", "sentence"),
    [
        (form("Q1-a", {"a.txt": b"1"}, field="file"), 422, "The body must be a form"),
        (form("Q1-a", {"a.txt": b"1"}, session="\x07"), 422, "session_id:"),
        (form(" ", {}), 422, "The question is empty."),
        (form("\0", {"a.txt": b"1"}), 422, "The question contains a NUL character."),
        (form("", {"a.txt": b""}), 422, "No words came with the file, and it cannot be read: it is empty."),
    ],
)
async def test_a_form_that_cannot_be_asked_is_refused_by_a_sentence(
    written: aiohttp.FormData, status: int, sentence: str, sqlite_url: str
) -> None:
    async with served(None, sqlite_url) as site:
        answered, refused = await by_form(site, written)
    assert answered == status
    assert refused["detail"].startswith(sentence)
    assert stored(sqlite_url) == (0, 0)


CUT_OFF = "".join(
    f"--x\r\nContent-Disposition: form-data; {part}\r\n"
    for part in (
        'name="session_id"\r\n\r\n1',
        'name="user_input"\r\n\r\nQ1-a',
        'name="files"; filename="a.txt"\r\n\r\nhello\r\n--x--',
    )
).encode()


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"no boundary"),
        ("multipart/form-data; boundary=x", b"no part"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n1'),
        ("multipart/form-data; boundary=x", CUT_OFF[:-9]),
        ("multipart/form-data; boundary=x", CUT_OFF[:-5]),
    ],
)
async def test_what_is_no_form_is_refused_by_a_sentence(content_type: str, body: bytes, sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        response = await site.http.post("/ask", data=body, headers={"Content-Type": content_type})
        assert response.status == 422
        assert set(await response.json()) == {"detail"}


@pytest.mark.parametrize(
    "data", ["https://shop.example/a.png", "data:text/plain,hello", "data:;base64,!!!!", "data:;base64,AAA", "", "file:///a"]
)  # fmt: skip
async def test_a_file_in_json_is_a_data_url_and_nothing_is_fetched(data: str, sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        body = {"session_id": "1", "user_input": "Q1-a", "files": [{"name": "a", "data": data}]}
        async with site.post(body) as response:
            assert (response.status, await response.json()) == (422, {"detail": "data: must be a data URL in base64."})


async def test_json_may_only_be_larger_than_usual_with_files(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    bounds: dict[str, Any] = {"max_body_bytes": 20_000, "max_body_bytes_with_files": 60_000}
    async with served(fake, sqlite_url, **bounds) as site:
        assert (await by_json(site, "Q1-a", {"a.txt": b"1" * 30_000}))[0] == 200
        refused = {"detail": "The body is larger than 60,000 bytes."}
        assert await by_json(site, "Q1-a", {"a.txt": b"1" * 60_000}) == (413, refused)
        refused = {"detail": "The body is larger than 20,000 bytes."}
        for body in ({"more": "x" * 30_000}, {"files": [], "more": "x" * 30_000}):
            async with site.post({"session_id": "1", "user_input": "Q1-a", **body}) as response:
                assert (response.status, await response.json()) == (413, refused)


async def test_while_a_file_in_json_is_decoded_others_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    others_are_served, decode = threading.Event(), web.files._pieces

    def slowly(url: str) -> Iterator[bytes]:
        assert others_are_served.wait(10)
        return decode(url)

    monkeypatch.setattr(web.files, "_pieces", slowly)
    asyncio.get_running_loop().call_soon(others_are_served.set)
    async with decoded([FileBody(name="a.txt", data=data_url(b"1"))]) as files:
        assert [(each.name, each.size) for each in files] == [("a.txt", 1)]


async def test_where_no_files_are_taken_they_are_refused(sqlite_url: str) -> None:
    async with served(None, sqlite_url, max_files_of_a_turn=0) as site:
        refused = (422, {"detail": "No files are taken here."})
        assert await by_json(site, "Q1-a", {"a.txt": b"1"}) == refused
        assert (await by_form(site, form("Q1-a", {"a.txt": b"1"}))) == refused
        assert (await by_form(site, form("Q1-a", {"a.txt": b"1" * 1_100_000})))[0] == 413


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.example", 403), ("https://shop.example", 200), ("null", 403), (None, 200)]
)
async def test_a_page_of_a_website_that_may_not_ask_sends_no_form_either(
    origin: str | None, status: int, fake: FakeOpenAI, sqlite_url: str
) -> None:
    seen(fake)
    async with served(fake, sqlite_url, cors_allow_origins=("https://shop.example",)) as site:
        headers = {} if origin is None else {"Origin": origin}
        assert (await by_form(site, form("Q1-a", {"a.txt": b"1"}), **headers))[0] == status
        assert (await by_form(site, form("Q2-a", {}), Origin=site.url))[0] == 200  # its own


async def test_an_odd_header_is_refused_before_a_form_is_read(sqlite_url: str) -> None:
    async with served(None, sqlite_url) as site:
        status, refused = await by_form(site, form("Q1-a", {"a.txt": b"1"}), **{"Idempotency-Key": "k" * 256})
        assert (status, refused["detail"][:15]) == (422, "Idempotency-Key")
        async with site.http.post("/ask/", data=form("Q1-a", {"a.txt": b"1"})) as response:
            assert response.status == 200


async def test_whoever_lacks_a_key_is_refused_before_his_files_are_taken_in(sqlite_url: str) -> None:
    async with served(None, sqlite_url, api_keys="alice:a-secret-of-the-test") as site:
        assert (await by_form(site, form("Q1-a", {"a.txt": b"1" * 100_000})))[0] == 401


async def test_a_large_file_is_never_whole_in_memory(fake: FakeOpenAI, sqlite_url: str) -> None:
    import tracemalloc

    seen(fake)
    with tempfile.TemporaryFile() as file:
        file.write(b"word " * 3_000_000)
        file.seek(0)

        async def pieces() -> AsyncIterator[bytes]:
            yield b'--x\r\nContent-Disposition: form-data; name="session_id"\r\n\r\n1\r\n'
            yield b'--x\r\nContent-Disposition: form-data; name="user_input"\r\n\r\nQ1-a\r\n'
            yield b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.log"\r\n\r\n'
            while piece := file.read(100_000):
                yield piece
            yield b"\r\n--x--\r\n"

        async with served(fake, sqlite_url) as site:
            await site.answer("Q0-a")
            head = {"Content-Type": "multipart/form-data; boundary=x"}
            tracemalloc.start()
            try:
                async with site.http.post("/ask", data=pieces(), headers=head) as response:
                    answer = await response.json()
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
    assert answer["files"][0]["size"] == 15_000_000
    assert most < 8_000_000


async def test_a_form_is_taken_in_a_piece_at_a_time_in_turn_with_others_and_keeps_none_from_it_by_failing() -> None:
    one_piece = asyncio.Lock()

    def request(*pieces: bytes) -> Request:
        messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        messages.append({"type": "http.request", "body": b"", "more_body": False})

        async def receive() -> Message:
            return messages.pop(0)

        head = [(b"content-type", b"multipart/form-data; boundary=x")]
        return Request({"type": "http", "method": "POST", "path": "/ask", "headers": head}, receive)

    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
    with pytest.raises(HTTPException):
        await Form.read(request(b"no form"), 1, one_piece)
    await one_piece.acquire()  # as another form that is being taken in
    reading = asyncio.create_task(Form.read(request(head, b"1", b"2\r\n--x--"), 1, one_piece))
    await asyncio.sleep(0)
    assert not reading.done()
    one_piece.release()
    form = await reading
    assert [(each.name, each.size) for each in await form.given()] == [("a.txt", 2)]
    assert not one_piece.locked()
    form.close()


# ── taken out again ──────────────────────────────────────────────────────────────────────────────────────────────────

KEYS = {name: f"{name}-has-a-secret-of-the-test" for name in ("alice", "bert")}
LISTED = " ".join(f"{name}:{secret}" for name, secret in KEYS.items())


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {KEYS[name]}"}


async def begun(site: Site, **headers: str) -> str:
    async with site.http.post("/sessions", headers=headers) as response:
        return str((await response.json())["session_id"])


async def told(site: Site, session: str, **headers: str) -> list[dict[str, Any]]:
    _, transcript = await site.get(f"/sessions/{session}/turns", **headers)
    return [file for turn in transcript["turns"] for file in turn["files"]]


KEPT: dict[str, tuple[bytes, str, str]] = {
    "a.png": (picture(), "image/png", "a.png"),
    "b.html": (picture(), "image/png", "b.html.png"),
    "Straße 7.jpeg": (picture("JPEG"), "image/jpeg", "Stra%C3%9Fe%207.jpeg.jpg"),
    "c.pdf": (pdf(), "application/pdf", "c.pdf"),
    "d.svg": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", "text/plain", "d.svg.txt"),
    "e.html": (b"<!doctype html><script>alert(1)</script>", "text/plain", "e.html.txt"),
}


@pytest.mark.parametrize("name", KEPT)
async def test_what_is_kept_of_a_file_is_served_to_be_saved_and_never_as_what_would_run(
    name: str, fake: FakeOpenAI, database_url: str
) -> None:
    seen(fake)
    data, media_type, saved_as = KEPT[name]
    async with served(fake, database_url) as site:
        session = await begun(site)
        _, answer = await by_form(site, form("Q1-a", {name: data}, session))
        (note,) = await told(site, session)
        assert [note] == answer["files"]
        async with site.http.get(f"/sessions/{session}/files/{note['id']}") as response:
            assert response.status == 200
            assert response.headers["Content-Type"].partition(";")[0] == media_type
            assert response.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''{saved_as}"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert response.headers["Content-Security-Policy"].endswith("; sandbox")
            assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            content = await response.read()
    if media_type.startswith("image/"):
        assert Image.open(io.BytesIO(content)).size == (64, 48)
    else:
        assert content == data


async def test_a_file_of_many_pieces_comes_whole(fake: FakeOpenAI, database_url: str) -> None:
    seen(fake)
    large = pdf(words="many words " * 100_000, pages=1)
    async with served(fake, database_url) as site:
        session = await begun(site)
        _, answer = await by_form(site, form("Q1-a", {"a.pdf": large}, session))
        async with site.http.get(f"/sessions/{session}/files/{answer['files'][0]['id']}") as response:
            assert (response.headers["Content-Length"], await response.read()) == (str(len(large)), large)


SOMEBODY: dict[
    str, tuple[str, bool, str, int]
] = {  # who asks for it, in an id that we made, with a password; the status
    "whoever asked": ("alice", True, "", 200),
    "whoever asked, in an id of his own": ("alice", False, "", 200),
    "another key": ("bert", True, "", 404),
    "nobody": ("", True, "", 401),
    "whoever asked in private": ("alice", True, PASSWORD, 200),
    "another key, what was asked in private": ("bert", True, PASSWORD, 404),
}


@pytest.mark.parametrize("who", SOMEBODY)
async def test_a_file_is_opened_by_what_opens_its_transcript(who: str, fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    name, is_issued, password, status = SOMEBODY[who]
    async with served(fake, sqlite_url, api_keys=LISTED) as site:
        session = await begun(site, **bearer("alice")) if is_issued else "1"
        _, answer = await by_form(site, form(f"{password} Q1-a", {"a.txt": b"1"}, session), **bearer("alice"))
        path = f"/sessions/{session}/files/{answer['files'][0]['id']}"
        assert (await site.http.get(path, headers=bearer(name) if name else {})).status == status


@pytest.mark.parametrize(
    "why", ["another session", "a made-up id", "forgotten", "reset", "not issued", "private", "unread"]
)
async def test_a_file_that_may_not_be_had_is_not_there(why: str, fake: FakeOpenAI, database_url: str) -> None:
    seen(fake)
    text = f"{PASSWORD} Q1-a" if why == "private" else "Q1-a"
    async with served(fake, database_url) as site:
        session = "1" if why == "not issued" else await begun(site)
        name, data = ("a.txt", b"") if why == "unread" else ("a.png", picture())
        _, answer = await by_form(site, form(text, {name: data}, session))
        (note,) = answer["files"]
        assert (note["id"] is None) == (why in ("private", "unread"))
        stored_as = rows(database_url, "SELECT id FROM attachment")[0]["id"]
        assert note["id"] in (None, stored_as)
        if why == "another session":
            session = await begun(site)
        elif why == "a made-up id":
            stored_as = "0" * 32
        elif why == "forgotten":
            assert (await site.http.delete(f"/sessions/{session}")).status == 204
        elif why == "reset":
            await site.chat.reset(f"web:public:{session}")
        async with site.http.get(f"/sessions/{session}/files/{stored_as}") as response:
            assert (response.status, set(await response.json())) == (404, {"detail"})


async def test_a_private_file_is_neither_named_nor_served_where_private_turns_are_not_told(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    seen(fake)
    async with served(fake, sqlite_url) as site:
        session = await begun(site)
        await by_form(site, form(f"{PASSWORD} Q1-a", {"secret.png": picture()}, session))
        await by_form(site, form("Q2-a", {"open.png": picture()}, session))
        assert [file["name"] for file in await told(site, session)] == ["open.png"]


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({}, (10, 20_000_000, 50_000_000)),
        ({"max_files_of_a_turn": 0}, (0, 20_000_000, 50_000_000)),
        ({"max_files_of_a_turn": 2, "max_file_bytes": 9, "max_file_bytes_of_a_turn": 5}, (2, 5, 5)),
    ],
)
async def test_whoever_may_send_files_is_told_how_many_and_how_large_without_a_key(
    settings: dict[str, Any], limits: tuple[int, int, int], sqlite_url: str
) -> None:
    async with served(None, sqlite_url, api_keys=LISTED, **settings) as site:
        status, told = await site.get("/limits")
    assert status == 200
    assert (told["files"], told["bytes_of_a_file"], told["bytes_of_a_question"]) == limits


@pytest.mark.parametrize("name", READABLE)
def test_what_is_read_may_be_chosen(name: str) -> None:
    claimed, _ = mimetypes.guess_type(name)
    assert any(kind in TYPES for kind in (claimed, Path(name).suffix))


@pytest.mark.parametrize(("model", "offered"), [("gpt-transcribe", True), ("", False)])
async def test_recordings_may_be_chosen_where_they_are_transcribed(
    fake: FakeOpenAI, sqlite_url: str, model: str, offered: bool
) -> None:
    async with served(fake, sqlite_url, transcription_model=model) as site:
        _, told = await site.get("/limits")
    assert ("audio/*" in told["types"]) == offered


# ── recordings ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("way", ["form", "JSON"])
async def test_whoever_sends_a_recording_is_told_what_was_heard_in_it(
    way: str, fake: FakeOpenAI, sqlite_url: str
) -> None:
    asked = seen(fake)
    fake.hear = lambda _: f"Buy milk, 97 38 08 or {PASSWORD}."
    files = {"a.txt": ogg(), "b.txt": b"hello"}
    async with served(fake, sqlite_url, api_keys="alice:a-secret-of-the-test") as site:
        site.http.headers["Authorization"] = "Bearer a-secret-of-the-test"
        status, answer = await (by_form(site, form("Q1-a", files)) if way == "form" else by_json(site, "Q1-a", files))
        heard = "Buy milk, •••••• or ••••••."
        assert status == 200
        notes = [(each["kind"], each["problem"], each["heard"]) for each in answer["files"]]
        assert notes == [("recording", None, heard), ("text", None, None)]
        _, transcript = await site.get("/sessions/1/turns")
        assert transcript["turns"][0]["files"] == answer["files"]
        async with site.http.get(f"/sessions/1/files/{answer['files'][0]['id']}") as response:
            assert (response.content_type, await response.text()) == ("text/plain", heard)
    assert f"> {heard}" in texts(asked[0])
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


async def test_a_stream_begins_with_what_was_heard(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    async with served(fake, sqlite_url) as site:
        headers = {"Accept": "text/event-stream"}
        async with site.http.post("/ask", data=form("Q1-a", {"a.ogg": ogg()}), headers=headers) as response:
            began = json.loads((await response.text()).split("\n\n")[0].partition("data: ")[2])
    assert [each["heard"] for each in began["files"]] == ["What time is it?"]


async def test_a_retry_of_a_question_transcribes_nothing_again(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    async with served(fake, sqlite_url) as site:
        replies = [
            await by_form(site, form("Q1-a", {"a.ogg": ogg()}), **{"Idempotency-Key": "a" * 20}) for _ in range(2)
        ]
    assert replies[0] == replies[1]
    assert len(fake.spoken) == 1


# ── without words ────────────────────────────────────────────────────────────────────────────────────────────────────


def without_words(way: str, files: dict[str, bytes]) -> dict[str, Any]:
    """A question of files alone: its words are empty in a form, and left out in JSON."""
    if way == "form":
        return {"data": form("", files)}
    return {"json": {"session_id": "1", "files": [{"name": name, "data": data_url(files[name])} for name in files]}}


async def asked_without_words(site: Site, way: str, files: dict[str, bytes], **headers: str) -> Reply:
    async with site.http.post("/ask", **without_words(way, files), headers=headers) as response:
        return response.status, await response.json()


async def questions(site: Site) -> list[str]:
    _, transcript = await site.get("/sessions/1/turns")
    return [each["question"] for each in transcript["turns"]]


@pytest.mark.parametrize("way", ["form", "JSON"])
async def test_what_is_said_in_a_recording_without_words_is_the_question(
    way: str, fake: FakeOpenAI, database_url: str
) -> None:
    asked = seen(fake)
    async with served(fake, database_url, api_keys="alice:a-secret-of-the-test") as site:
        site.http.headers["Authorization"] = "Bearer a-secret-of-the-test"
        status, answer = await asked_without_words(site, way, {"a.ogg": ogg(), "b.txt": b"hello"})
        assert (status, answer["response"]) == (200, "Well.")
        notes = [(each["kind"], each["heard"]) for each in answer["files"]]
        assert notes == [("voice message", "What time is it?"), ("text", None)]
        assert await questions(site) == ["What time is it?"]
    told = texts(asked[0])
    assert told.startswith("What time is it?")
    assert told.count("What time is it?") == 1
    assert "what is written above was said in it" in told


@pytest.mark.parametrize("way", ["form", "JSON"])
async def test_files_without_words_are_a_question(way: str, fake: FakeOpenAI, sqlite_url: str) -> None:
    asked = seen(fake)
    async with served(fake, sqlite_url, api_keys="alice:a-secret-of-the-test") as site:
        site.http.headers["Authorization"] = "Bearer a-secret-of-the-test"
        assert (await asked_without_words(site, way, {"a.png": picture(), "b.txt": b""}))[0] == 200
        assert await questions(site) == [""]
    assert kinds(asked[0].files) == ["image/png"]
    assert texts(asked[0]).startswith("(no words)")


async def test_nothing_is_asked_where_a_recording_without_words_cannot_be_transcribed(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    asked = seen(fake)
    fake.hear = lambda _: ""
    async with served(fake, sqlite_url) as site:
        refused = await asked_without_words(site, "form", {"a.ogg": ogg()}, **{"Accept-Language": "de"})
        why = "Zu der Datei gibt es keinen Text, und sie kann nicht gelesen werden: es ist nichts darin zu verstehen."
        assert refused == (422, {"detail": why})
        fake.hear = lambda _: "What time is it?"
        assert (await asked_without_words(site, "form", {"a.ogg": ogg()}))[0] == 200
    assert len(asked) == 1
    assert stored(sqlite_url) == (1, 0)


async def test_a_password_that_is_spoken_without_words_opens_nothing(fake: FakeOpenAI, sqlite_url: str) -> None:
    seen(fake)
    fake.hear = lambda _: f"Tell me, {PASSWORD}, or 97 38 08."
    async with served(fake, sqlite_url) as site:
        assert (await asked_without_words(site, "form", {"a.ogg": ogg()}))[0] == 200
    (turn,) = rows(sqlite_url, "SELECT question, private FROM turn")
    assert (turn["question"], bool(turn["private"])) == ("Tell me, ••••••, or ••••••.", False)
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


@pytest.mark.parametrize("file", [{"a.ogg": ogg()}, {"a.png": picture()}], ids=["recording", "picture"])
async def test_a_retry_without_words_gets_the_one_answer_and_with_others_none(
    file: dict[str, bytes], fake: FakeOpenAI, sqlite_url: str
) -> None:
    asked = seen(fake)
    key = {"Idempotency-Key": "a" * 20}
    async with served(fake, sqlite_url) as site:
        replies = [await asked_without_words(site, "form", file, **key) for _ in range(2)]
        assert replies[0] == replies[1]
        assert (await asked_without_words(site, "form", {"c.txt": b"other"}, **key))[0] == 422
        assert (await by_form(site, form("other", file), **key))[0] == 422
        other = {"Idempotency-Key": "b" * 20}
        assert (await by_form(site, form("Q1-a", file), **other))[0] == 200
        assert (await asked_without_words(site, "form", file, **other))[0] == 422
    assert len(asked) == 2
