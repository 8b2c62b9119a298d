"""Answers on Discord as files: attached to the last message, once, whatever Discord says to that and whoever dies."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bots.discord import api as discord_api
from bots.discord import reply as discord_reply
from bots.shared.as_files import MOST_FILES
from tests.bots.conftest import closed, comes_true, lines, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, answered
from tests.bots.discord.test_replies import PLACES, asks, commands
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI, Reply

CODE = "import this\nprint(1)\n"
ANSWER = f"Here it is:\n\n```python\n{CODE}```\n\nRun it."
LINE = "Here it is:\n\n📎 `answer.py`\n\nRun it."
ASKED = "a script, as a file"
POSTS, EDITS = "/channels/*/messages", "/channels/*/messages/*"
SENT = [("answer.py", CODE)]


@pytest.fixture(autouse=True)
def _answers_with_code(fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=[ANSWER[at : at + 9] for at in range(0, len(ANSWER), 9)])


def attaches(body: Any) -> bool:
    """Whether a request brings files."""
    return isinstance(body, dict) and bool(body.get("attachments"))


def sent(discord: FakeDiscord, message: int) -> list[tuple[str, str]]:
    """The files that Bob shows in answer to a message."""
    files = [file for each in discord.reply_messages(message) for file in each.files]
    return [(file.name, file.content.decode("utf-8-sig")) for file in files]


@PLACES
async def test_code_is_a_file_of_the_message_and_a_line_names_it(discord: FakeDiscord, bob: Start, place: str) -> None:
    async with bob():
        message = asks(discord, place, ASKED)
        assert await answer(discord, message) == LINE
    assert sent(discord, message) == SENT


async def test_a_command_is_answered_with_files_as_well(discord: FakeDiscord, bob: Start, sqlite_url: str) -> None:
    async with bob():
        await commands(discord)
        asked = discord.slash("ada", "general", "ask", prompt=ASKED)
        await closed(sqlite_url)
    (shown,) = asked.messages
    assert (shown.text, [file.content.decode() for file in shown.files]) == (LINE, [CODE])


async def test_a_table_is_whole_in_its_file_whoever_is_named_in_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda _: Reply(text="| who | what |\n|---|---|\n| @Ada | `a` |")
    async with bob():
        message = asks(discord, "thread", "who does what, as a CSV file")
        assert await answer(discord, message) == "📎 `table.csv`"
    assert sent(discord, message) == [("table.csv", "who,what\r\n@Ada,a\r\n")]


async def test_no_more_files_are_attached_than_discord_takes_and_the_whole_of_a_long_answer_is_one_of_them(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda _: Reply(text="\n".join(["```sh\na\nb\n```"] * (MOST_FILES + 1) + lines(400)))
    async with bob():
        message = asks(discord, "thread", ASKED)
        texts = await answered(discord, message, parts=8)
    names = [name for name, _ in sent(discord, message)]
    assert names == ["answer.md", "answer.sh", *(f"answer-{n}.sh" for n in range(2, MOST_FILES + 1))]
    assert "```sh\na\nb\n```" in texts[0]


@PLACES
async def test_where_no_file_may_be_attached_the_code_is_shown(discord: FakeDiscord, bob: Start, place: str) -> None:
    if place == "dm":
        for method, path in (("POST", POSTS), ("PATCH", EDITS)):
            discord.fail(method, path, 413, code=40005, when=attaches)
    else:
        discord.forbids({"thread": "general", "inline": "news"}[place], "attach_files")
    async with bob() as running:
        message = asks(discord, place, ASKED)
        await closed(running.database_url)
    assert discord.replies(message) == [ANSWER]
    assert sent(discord, message) == []


@pytest.mark.parametrize("after", [True, False])
async def test_a_file_whose_edit_may_have_been_lost_is_there_once(
    discord: FakeDiscord, bob: Start, after: bool
) -> None:
    async with bob() as running:
        for method, path in (("POST", POSTS), ("PATCH", EDITS)):
            discord.fail(method, path, drop=True, after=after, when=attaches)
        message = asks(discord, "thread", ASKED)
        await closed(running.database_url)
    assert discord.replies(message) == [LINE]
    assert sent(discord, message) == SENT


async def test_who_dies_before_an_answer_with_a_file_is_closed_leaves_one_file_in_the_end(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_sent = asyncio.Event()
    for name, make in (("post_message", discord_api.post_message), ("edit_message", discord_api.edit_message)):

        async def hangs(*arguments: Any, made: Any = make, **content: Any) -> Any:
            answer = await made(*arguments, **content)
            if content.get("files") or content.get("attachments"):
                is_sent.set()
                await asyncio.Event().wait()
            return answer

        monkeypatch.setattr(discord_reply, name, hangs)
    async with bob() as first:
        message = asks(discord, "thread", ASKED)
        await is_sent.wait()
        await first.dies()
    monkeypatch.undo()
    async with bob() as second:
        await closed(second.database_url)
    assert discord.replies(message) == [LINE]
    assert sent(discord, message) == SENT


async def test_a_question_that_is_deleted_before_its_answer_is_closed_leaves_no_file(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply(pieces=["Here it is:\n\n", ANSWER.removeprefix("Here it is:\n\n")], gate=gate)
    async with bob():
        message = asks(discord, "thread", ASKED)
        await comes_true(lambda: any(each["posted"] for each in turns(sqlite_url)))
        fault = discord.fail("PATCH", EDITS, 503, after=True, times=None)
        gate.open()
        await discord.until(lambda discord: sent(discord, message), SECONDS)
        discord.deletes(message)
        await comes_true(lambda: turns(sqlite_url)[0]["outcome"] == "withdrawn")
        fault.cancel()
        await closed(sqlite_url, "withdrawn")
    assert sent(discord, message) == []


async def test_an_answer_that_nobody_wants_as_a_file_is_none(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        message = discord.says("ada", "general", f"{HI} a script")
        assert await answer(discord, message) == ANSWER
    assert sent(discord, message) == []
