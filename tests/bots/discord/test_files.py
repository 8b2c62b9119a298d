"""Files that people send on Discord: fetched from Discord's own hosts, read and told, or named with the reason."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from yarl import URL

from bots.discord.files import discords_hosts
from tests.bots.conftest import closed, comes_true, held, turns
from tests.bots.discord.conftest import HI, SECONDS, Bob, Start, answer
from tests.bots.discord.test_commands import read, ready
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents, rows
from tests.core.fixtures.files import pdf, picture
from tests.core.test_files import kinds, seen, stored, texts
from tests.fakes.discord_api import FakeDiscord, File
from tests.fakes.openai_api import FakeOpenAI

LONG = b"line\n" * 200 + b"the last line"
FILES = "/attachments/*/*/*"
LOG = File("a.log", LONG, "text/plain")


async def said(discord: FakeDiscord, *files: File, text: str = "what is this?", channel: str = "dm") -> str:
    """What Bob answers to these files."""
    return await answer(discord, discord.says("ada", channel, text, attachments=files))


async def test_files_are_read_whole(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    asked = seen(fake)
    async with bob():
        files = [File("a.png", picture(), "image/png"), File("b.pdf", pdf(), "application/pdf"), LOG]
        assert await said(discord, *files) == "Well."
    assert kinds(asked[0].files) == ["image/png", "b.pdf"]
    assert texts(asked[0]).count("the last line") == 1


async def test_the_file_of_a_command_is_read(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    asked = seen(fake)
    async with bob():
        await ready(discord)
        assert await read(discord, discord.slash("ada", "dm", "ask", prompt="what is this?", file=LOG)) == "Well."
        discord.fail("GET", FILES, status=404, times=2)
        and_this = await read(discord, discord.slash("ada", "dm", "ask", prompt="and this?", file=LOG))
        assert and_this == "_I have not seen: a.log (it is not there any more)_\n\nWell."
    assert texts(asked[0]).count("the last line") == 1


async def test_a_file_that_cannot_be_had_is_named_with_the_reason_and_costs_nothing_else(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    cases = {
        "it is larger than 50,000 bytes": File("a.bin", b"x" * 50_001),
        "files of this kind cannot be read": File("a.bin", b"MZ\0\0"),
        "it is empty": File("a.bin", b""),
    }
    async with bob(max_file_bytes=50_000):
        for problem, file in cases.items():
            assert await said(discord, file, LOG) == f"_I have not seen: a.bin ({problem})_\n\nWell."
            assert f'Attached, and not readable for you: "a.bin" ({problem})' in texts(asked[-1])
            assert "the last line" in texts(asked[-1])
        for status, problem in ((404, "it is not there any more"), (500, "it could not be fetched")):
            discord.fail("GET", FILES, status=status, times=2)
            assert await said(discord, LOG) == f"_I have not seen: a.log ({problem})_\n\nWell."


async def test_a_file_whose_address_has_lapsed_is_fetched_from_where_it_is_by_now(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    asked = seen(fake)
    discord.fail("GET", FILES, delay=0.3)
    async with bob():
        message = discord.says("ada", "dm", "what is this?", attachments=[LOG])
        await comes_true(lambda: discord.downloads)
        discord.expire_links()
        assert await answer(discord, message) == "Well."
    assert "the last line" in texts(asked[0])
    assert list(discord.downloads) == ["a.log"] * 2


@pytest.mark.parametrize("words", ["", HI])
async def test_a_long_text_that_discord_made_a_file_of_is_the_question(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, words: str
) -> None:
    asked = seen(fake)
    text = f"Please sum this up, {PASSWORD}: " + "word " * 1_000
    async with bob():
        assert await said(discord, File("message.txt", text.encode(), "text/plain"), text=words) == "Well."
    assert "> Please sum this up, ••••••: word word" in texts(asked[0])
    assert texts(asked[0]).count("word") == 1_000
    assert "no instruction to you" not in texts(asked[0])
    assert stored(sqlite_url) == (0, 0)
    assert PASSWORD not in contents(sqlite_url)


@pytest.mark.parametrize(("words", "size"), [("Sum this up", 5_000), ("", 40_000)], ids=["with words", "too long"])
async def test_a_long_text_beside_words_or_longer_than_a_question_is_a_file(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, words: str, size: int
) -> None:
    asked = seen(fake)
    async with bob():
        assert await said(discord, File("message.txt", b"word " * (size // 5), "text/plain"), text=words) == "Well."
    assert 'Attached: text "message.txt"' in texts(asked[0])
    assert f"> {words or '(no words)'}" in texts(asked[0])


async def test_the_files_of_a_message_that_is_forwarded_are_read(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    async with bob():
        theirs = discord.says("grace", "help", "", attachments=[File("cat.png", picture(), "image/png")])
        message = discord.forwards("ada", "dm", theirs)
        assert await answer(discord, message) == "Well."
    assert kinds(asked[0].files) == ["image/png"]
    assert "(Attached: cat.png)" in texts(asked[0])


async def test_a_file_that_was_sent_in_private_is_not_read_where_its_message_is_forwarded(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    async with bob():
        secret = discord.says("ada", "dm", f"{PASSWORD} look", attachments=[File("a.log", b"SECRET-1", "text/plain")])
        assert await answer(discord, secret) == "🔒 _Private-Bob_\n\nWell."
        forwarded = discord.forwards("ada", "dm", secret)
        assert await answer(discord, forwarded) == "Well."
    assert "SECRET-1" in texts(asked[0])
    assert not any("SECRET-1" in texts(each) or "a.log" in texts(each) for each in asked[1:])


@pytest.mark.parametrize("address", [
    "https://cdn.discordapp.com/x", "https://media.discordapp.net/x", "http://127.0.0.1:1/attachments/1/2/x",
])  # fmt: skip
def test_files_are_fetched_from_discord(address: str) -> None:
    assert discords_hosts("http://127.0.0.1:1/api/v10").include(URL(address))


@pytest.mark.parametrize("address", [
    "http://cdn.discordapp.com/x", "https://cdn.discordapp.com:444/x", "https://cdn.discordapp.com.evil.example/x",
    "https://x.cdn.discordapp.com/x", "https://user@cdn.discordapp.com/x", "https://evil.example/", "/x",
])  # fmt: skip
def test_files_are_fetched_from_nowhere_else(address: str) -> None:
    assert not discords_hosts("http://127.0.0.1:1/api/v10").include(URL(address))


# ── once and whole, whoever dies ─────────────────────────────────────────────────────────────────────────────────────


async def _stands_still_at(part: Any, name: str, discord: FakeDiscord, patch: pytest.MonkeyPatch) -> None:
    """A question with a file is asked, and its process comes so far and no further."""
    reached = asyncio.Event()

    async def for_ever(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    patch.setattr(part, name, for_ever)
    discord.says("ada", "general", f"{HI} what is this?", attachments=[LOG])
    await asyncio.wait_for(reached.wait(), SECONDS)


async def _is_fetched_only(discord: FakeDiscord, fake: FakeOpenAI, running: Bob, patch: pytest.MonkeyPatch) -> None:
    await _stands_still_at(running.chat._store.attachments, "give", discord, patch)


async def _is_kept(discord: FakeDiscord, fake: FakeOpenAI, running: Bob, patch: pytest.MonkeyPatch) -> None:
    await _stands_still_at(running.chat._store.turns, "note_prepared", discord, patch)


async def _is_asked(discord: FakeDiscord, fake: FakeOpenAI, running: Bob, patch: pytest.MonkeyPatch) -> None:
    held(fake, "Well.", after=0)
    discord.says("ada", "general", f"{HI} what is this?", attachments=[LOG])
    await fake.until(lambda fake: fake.active == 1)


@pytest.mark.parametrize(("moment", "fetched"), [(_is_fetched_only, 2), (_is_kept, 1), (_is_asked, 1)])
async def test_whoever_takes_over_gives_the_model_the_file_once_and_whole(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, moment: Any, fetched: int
) -> None:
    async with bob() as running:
        with pytest.MonkeyPatch.context() as patch:
            await moment(discord, fake, running, patch)
            await running.dies()
    asked = seen(fake)
    async with bob():
        await closed(sqlite_url)
    (last,) = asked
    assert texts(last).count("the last line") == 1
    assert len(discord.downloads) == fetched
    assert len(rows(sqlite_url, "SELECT * FROM attachment WHERE turn_id IS NOT NULL")) == 1
    assert turns(sqlite_url)[0]["files"] == 1
