"""Exports of ChatGPT and of the Assistants API: what is told of them, whatever else is in them."""

from __future__ import annotations

import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from core import CannotImport, HowToImport, ImportReport, Outcome
from core.archive import values
from core.archive.values import TOO_LARGE, Broken, json_values
from tests.core.fixtures.database import rows
from tests.core.test_archive import archive_of

HIDDEN = {"is_visually_hidden_from_conversation": True}
ID = "6b1f0e4c-0000-4000-8000-{:012d}"


def message(id_: str, role: str, text: str | None, *, at: float = 1.0, **more: Any) -> dict[str, Any]:
    content = {"content_type": "text", "parts": [text]}
    return {
        "id": id_, "author": {"role": role}, "create_time": at, "content": content, "metadata": {}, "recipient": "all",
        **more,
    }  # fmt: skip


def conversation(number: int, *messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A conversation whose messages follow each other."""
    nodes: dict[str, Any] = {"root": {"id": "root", "message": None, "parent": None, "children": []}}
    parent = "root"
    for each in messages:
        nodes[parent]["children"].append(each["id"])
        nodes[each["id"]] = {"id": each["id"], "message": each, "parent": parent, "children": []}
        parent = each["id"]
    values = {"title": "T", "create_time": 7.0, "conversation_id": ID.format(number), "current_node": parent}
    return {**values, "mapping": nodes, **more}


def of_a_thread(number: int, role: str, text: str, *, thread: str = "thread_1", at: int = 0) -> dict[str, Any]:
    return {
        "id": f"msg_{number}", "object": "thread.message", "created_at": at or number, "thread_id": thread,
        "role": role, "assistant_id": "asst_1" if role == "assistant" else None, "attachments": [],
        "content": [{"type": "text", "text": {"value": text, "annotations": []}}],
    }  # fmt: skip


def written(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


async def import_into(url: str, path: Path, assistants: dict[str, str] | None = None, **more: Any) -> ImportReport:
    async with archive_of(url, **more) as archive:
        how = HowToImport("web:public:old-", lambda id_: archive.choice((assistants or {}).get(id_, "")))
        return await archive.import_from(path, how)


def turns(url: str) -> list[tuple[str, str, str, str]]:
    found = rows(
        url,
        "SELECT s.name, t.question, t.answer, t.assistant FROM turn t JOIN chat_session s ON s.id = t.session_id"
        " ORDER BY s.id, t.number",
    )
    return [(row["name"], row["question"], row["answer"], row["assistant"]) for row in found]


# ── ChatGPT ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_of_a_conversation_of_chatgpt_the_path_that_its_person_sees_is_imported(
    database_url: str, tmp_path: Path
) -> None:
    told = conversation(
        1, message("a", "user", "Q1"), message("b", "assistant", "A1 \ue200cite\ue202turn0\ue201."),
        message("c", "user", "Q2", at=5.0), message("d", "assistant", "A2", at=6.0),
    )  # fmt: skip
    told["mapping"]["x"] = {
        "id": "x",
        "message": message("x", "assistant", "another A1"),
        "parent": "a",
        "children": [],
    }
    report = await import_into(database_url, written(tmp_path / "x.json", [told]))
    assert report.turns == 2
    name = f"web:public:old-{ID.format(1)}"
    assert turns(database_url) == [(name, "Q1", "A1 .", "Bob"), (name, "Q2", "A2", "Bob")]
    (last,) = rows(database_url, "SELECT outcome, accepted_at, closed_at FROM turn WHERE number = 2")
    assert tuple(last.values()) == (Outcome.ANSWERED, 5.0, 6.0)


async def test_what_nobody_saw_or_nobody_said_is_left_out(sqlite_url: str, tmp_path: Path) -> None:
    thoughts = message("t", "assistant", None, content={"content_type": "thoughts", "thoughts": ["hm"]})
    told = conversation(
        1, message("s", "system", "be nice"), message("h", "user", "hidden", metadata=HIDDEN),
        message("a", "user", "Q1"), thoughts, message("c", "assistant", "search()", recipient="browser"),
        message("e", "tool", "found"), message("b", "assistant", "A1a"), message("b2", "assistant", "A1b"),
        message("f", "user", "nobody answers this"),
    )  # fmt: skip
    report = await import_into(sqlite_url, written(tmp_path / "x.json", [told]))
    assert [each[1:3] for each in turns(sqlite_url)] == [("Q1", "A1a\n\nA1b")]
    assert report.left_out == {"messages that nobody answered": 1}


async def test_a_picture_in_a_question_is_told_as_one_that_cannot_be_seen(sqlite_url: str, tmp_path: Path) -> None:
    parts = [{"content_type": "image_asset_pointer", "asset_pointer": "file-service://x"}, "What is this?"]
    asked = message(
        "a", "user", None, content={"content_type": "multimodal_text", "parts": parts},
        metadata={"attachments": [{"name": "cat.png"}]},
    )  # fmt: skip
    report = await import_into(
        sqlite_url, written(tmp_path / "x.json", [conversation(1, asked, message("b", "assistant", "A cat."))])
    )
    assert report.left_out == {"files": 1}
    (row,) = rows(sqlite_url, "SELECT question, frame FROM turn")
    assert row["question"] == "What is this?"
    assert json.loads(row["frame"])["attached"] == ["cat.png"]


@pytest.mark.parametrize("shape", ["one file", "zip", "parts in a zip", "parts in a folder"])
async def test_chatgpts_export_is_known_in_every_shape_in_which_it_comes(
    sqlite_url: str, tmp_path: Path, shape: str
) -> None:
    each = [[conversation(n, message(f"a{n}", "user", "Q"), message(f"b{n}", "assistant", "A"))] for n in (1, 2)]
    files: dict[str, Any] = {"conversations.json": each[0] + each[1]}
    if "parts" in shape:
        files = {f"conversations-{number:03d}.json": part for number, part in enumerate(each)}
    path = tmp_path / "x"
    if "zip" in shape:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("user.json", "{}")
            for name, content in files.items():
                archive.writestr(name, json.dumps(content))
    elif "folder" in shape:
        path.mkdir()
        for name, content in {**files, "user.json": {}}.items():
            written(path / name, content)
    else:
        written(path, files["conversations.json"])
    assert (await import_into(sqlite_url, path)).new == 2
    assert (await import_into(sqlite_url, path)).there == 2


BAD = {
    "no object": 7,
    "no tree": {"mapping": 5, "conversation_id": "x"},
    "no id": {"mapping": {}, "conversation_id": None},
    "an id that is no name": conversation(9, message("a", "user", "Q"), conversation_id="x\x1b[2J"),
    "an empty tree": {"mapping": {}, "conversation_id": "x"},
    "a tree without a beginning": {
        "conversation_id": "x", "current_node": "a", "mapping": {"a": {"parent": "b"}, "b": {"parent": "a"}},
    },
    "nodes that are none": {"conversation_id": "x", "current_node": "a", "mapping": {"a": ["b"]}},
    "too deep": json.loads("[" * 500 + "]" * 500),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_one_bad_conversation_is_told_and_costs_no_other(sqlite_url: str, tmp_path: Path, bad: object) -> None:
    good = [conversation(n, message(f"a{n}", "user", "Q"), message(f"b{n}", "assistant", "A")) for n in (1, 2)]
    report = await import_into(sqlite_url, written(tmp_path / "x.json", [good[0], bad, good[1]]))
    assert report.new == 2
    if bad is not BAD["nodes that are none"]:  # which says nothing, and breaks nothing
        assert [each.where for each in report.told] == ["x.json, conversation 2"]
    assert all("\x1b" not in each.why for each in report.told)


# ── the Assistants API ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("shape", ["a list", "newest first", "lines", "an array", "a thread"])
async def test_messages_of_the_assistants_api_are_imported_in_every_shape(
    sqlite_url: str, tmp_path: Path, shape: str
) -> None:
    messages = [of_a_thread(1, "user", "Q1"), of_a_thread(2, "assistant", "A1"), of_a_thread(3, "user", "Q2", at=3),
                of_a_thread(4, "assistant", "A2", at=3)]  # fmt: skip
    content = {
        "a list": json.dumps({"object": "list", "data": messages, "has_more": False}),
        "newest first": json.dumps({"object": "list", "data": messages[::-1]}),
        "lines": "\n".join(map(json.dumps, messages)),
        "an array": json.dumps(messages),
        "a thread": json.dumps({"id": "thread_1", "object": "thread", "messages": messages}),
    }[shape]
    (tmp_path / "x").write_text(content)
    assert (await import_into(sqlite_url, tmp_path / "x")).turns == 2
    assert [each[:3] for each in turns(sqlite_url)] == [
        ("web:public:old-thread_1", "Q1", "A1"), ("web:public:old-thread_1", "Q2", "A2"),
    ]  # fmt: skip


async def test_turns_are_those_of_the_assistant_that_is_named_for_theirs(sqlite_url: str, tmp_path: Path) -> None:
    messages = [of_a_thread(n, "assistant" if n % 2 == 0 else "user", f"{n}", thread=f"thread_{(n + 1) // 2}")
                for n in range(1, 5)]  # fmt: skip
    messages[3]["assistant_id"] = "asst_2"
    await import_into(sqlite_url, written(tmp_path / "x", messages), {"asst_2": "Private-Bob"})
    found = rows(sqlite_url, "SELECT assistant, private, circle FROM turn ORDER BY id, assistant")
    assert sorted((row["assistant"], bool(row["private"]), row["circle"]) for row in found) == [
        ("Bob", False, None), ("Private-Bob", True, "PRIVATE_BOB_PASSWORD"),
    ]  # fmt: skip
    with pytest.raises(CannotImport, match="no assistant Nobody"):
        await import_into(sqlite_url, written(tmp_path / "x", messages), {"asst_2": "Nobody"})


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"{}", b"[]", b"[1, 2]", b'{"messages": []}', b"PK\x03\x04 no zip", b"\x00" * 100, b'"'],
    ids=repr,
)  # fmt: skip
async def test_what_is_no_export_is_refused_with_a_sentence(sqlite_url: str, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(CannotImport, match=r"^x is"):
        await import_into(sqlite_url, tmp_path / "x")


async def test_a_folder_without_json_and_a_zip_that_unpacks_to_gigabytes_are_refused(
    sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(CannotImport, match="f holds no JSON file"):
        await import_into(sqlite_url, tmp_path / "f")
    bomb = zipfile.ZipFile(tmp_path / "z", "w", zipfile.ZIP_DEFLATED)
    with bomb, bomb.open("conversations.json", "w") as entry:
        for _ in range(70):
            entry.write(b" " * (1 << 20))
    with pytest.raises(CannotImport, match="unpacks to"):
        await import_into(sqlite_url, tmp_path / "z")


class Endless(io.RawIOBase):
    """A file that begins, and then says the same for ever."""

    def __init__(self, beginning: bytes, piece: bytes) -> None:
        self._left = beginning
        self._piece = piece

    def read(self, size: int = -1) -> bytes:
        data = self._left or self._piece * max(1, size // len(self._piece))
        self._left = b""
        return data


@pytest.mark.parametrize(
    ("beginning", "piece"), [(b'["', b"a"), (b"[", b" "), (b'{"a', b"a"), (b"[1", b"1")],
    ids=["text", "blanks", "key", "number"],
)  # fmt: skip
def test_what_never_ends_is_read_only_so_far(monkeypatch: pytest.MonkeyPatch, beginning: bytes, piece: bytes) -> None:
    monkeypatch.setattr(values, "LONGEST_TOKEN", 1 << 20)
    with pytest.raises(Broken):
        list(json_values(Endless(beginning, piece), "x"))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "large", ["[" * 200 + "]" * 200, "[" + "0," * 2000 + "0]", json.dumps("a" * 2000), json.dumps({"a" * 2000: 1}),
              json.dumps([{"a": ["b" * 500]}] * 5)],
    ids=["deep", "many", "long", "a long key", "long together"],
)  # fmt: skip
def test_a_value_beyond_the_bounds_is_passed_over_and_the_next_is_read(
    monkeypatch: pytest.MonkeyPatch, large: str
) -> None:
    monkeypatch.setattr(values, "MOST_PARTS", 1000)
    monkeypatch.setattr(values, "MOST_CHARACTERS", 1000)
    found = [value for _, value in json_values(io.BytesIO(f'[1, {large}, {{"b": [2]}}]'.encode()), "x")]
    assert found == [1, TOO_LARGE, {"b": [2]}]


@pytest.mark.parametrize(
    "text", ["7", '"x"', "null", '{"a": {"b": [1, {"c": null}, []]}, "d": 1.5}', "[[], [{}], true]"]
)
def test_values_are_what_they_are_in_json(text: str) -> None:
    expected = json.loads(text)
    found = [value for _, value in json_values(io.BytesIO(b"\xef\xbb\xbf" + text.encode()), "x")]
    assert found == (expected if isinstance(expected, list) else [expected])


def test_a_file_of_any_length_is_read_in_the_same_memory() -> None:
    def taken(conversations: int) -> int:
        each = json.dumps(conversation(1, *(message(f"m{n}", "user", "x" * 500) for n in range(40)))).encode()
        file = io.BytesIO(b"[" + b",".join([each] * conversations) + b"]")
        tracemalloc.start()
        for _ in json_values(file, "x"):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    taken(2)
    assert taken(200) < 1.5 * taken(20)
