"""What people say on Discord in place of writing: voice messages are transcribed, and answered as questions."""

from __future__ import annotations

import json

from tests.bots.conftest import closed, comes_true, held, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.core.fixtures.files import ogg
from tests.core.test_files import seen, texts
from tests.core.test_threads import sent
from tests.fakes.discord_api import FakeDiscord, File
from tests.fakes.openai_api import FakeOpenAI, Status
from tests.fakes.openai_audio import PATH

SAID = "What time is it?"
HEARD = f"> 🎙 {SAID}\n\n"
VOICE = File("voice-message.ogg", ogg(), "audio/ogg", seconds=3.0)


async def test_what_is_said_in_place_of_words_is_answered_and_shown_as_it_was_heard(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    asked = seen(fake)
    async with bob():
        message = discord.says("ada", "dm", "", attachments=[VOICE])
        assert await answer(discord, message) == f"{HEARD}Well."
    assert f"writes:\n> {SAID}\n\nAttached: voice message " in texts(asked[0])
    assert "(0:03): what is written above was said in it" in texts(asked[0])
    assert [turn["question"] for turn in turns(sqlite_url)] == [SAID]
    assert [each.data for each in fake.spoken] == [ogg()]


async def test_a_thread_is_named_by_what_was_said(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    seen(fake)
    async with bob():
        message = discord.says("ada", "general", HI, attachments=[VOICE])
        assert await answer(discord, message) == f"{HEARD}Well."
        thread = discord.thread_of(message)
    assert thread is not None
    assert thread.name == SAID


async def test_a_recording_beside_words_is_told_beside_them(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    asked = seen(fake)
    async with bob():
        song = File("song.ogg", ogg(), "audio/ogg")
        message = discord.says("ada", "dm", "what is this?", attachments=[song])
        assert await answer(discord, message) == f"{HEARD}Well."
    assert "> what is this?\n" in texts(asked[0])
    assert 'Attached: recording "song.ogg" (0:03). What follows after' in texts(asked[0])


async def test_a_voice_message_that_is_forwarded_is_no_question_of_who_forwards_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    async with bob():
        theirs = discord.says("grace", "help", "", attachments=[VOICE])
        assert await answer(discord, discord.forwards("ada", "dm", theirs)) == f"{HEARD}Well."
    assert "> (no words)\n" in texts(asked[0])
    assert "recording" in texts(asked[0])
    assert "instruction to you" in texts(asked[0])


async def test_a_voice_message_that_cannot_be_transcribed_is_named_with_the_reason(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    seen(fake)
    fake.fail("POST", PATH, Status(404, body="404 page not found"))
    async with bob():
        message = discord.says("ada", "dm", "", attachments=[VOICE])
        why = "a voice message (recordings are not transcribed here)"
        assert await answer(discord, message) == f"_I have not seen: {why}_\n\nWell."


async def test_a_password_that_is_spoken_opens_nothing_and_is_kept_told_and_shown_nowhere(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    asked = seen(fake)
    fake.hear = lambda _: f"97 38 08 or {PASSWORD} @everyone"
    async with bob():
        message = discord.says("ada", "general", HI, attachments=[VOICE])
        assert await answer(discord, message) == "> 🎙 •••••• or •••••• everyone\n\nWell."
        names = [each.name for each in discord.threads("general")]
    assert "> •••••• or ••••••" in texts(asked[0])
    for place in (fake.texts(), contents(sqlite_url), str(names)):
        assert PASSWORD not in place
        assert "97 38 08" not in place


async def test_what_is_said_to_the_private_assistant_is_in_no_request_of_the_public_one(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    asked = seen(fake)
    fake.hear = lambda _: "SECRET-1"
    async with bob() as running:
        await answer(discord, discord.says("ada", "dm", "hello"))
        (turn,) = turns(sqlite_url)
        place = f"discord:{json.loads(turn['destination'])['channel']}"
        await running.chat.unlock(turn["person"], place, "discord", PASSWORD)
        message = discord.says("ada", "dm", "", attachments=[VOICE])
        assert await answer(discord, message) == "🔒 _Private-Bob_\n\n> 🎙 SECRET-1\n\nWell."
        await running.chat.lock(turn["person"], place)
        await answer(discord, discord.says("ada", "dm", "and now?"))
    assert ["SECRET-1" in texts(each) for each in asked] == [False, True, False]


async def test_whoever_takes_over_transcribes_nothing_again_and_answers_once(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob() as running:
        held(fake)
        message = discord.says("ada", "general", HI, attachments=[VOICE])
        await discord.until(lambda discord: any("First" in each for each in discord.replies(message)), SECONDS)
        await running.dies()
    asked = seen(fake)
    async with bob():
        await closed(sqlite_url)
        await comes_true(lambda: discord.replies(message) == [f"{HEARD}Well."])
    assert texts(asked[-1]).count(SAID) == 1
    assert len(fake.spoken) == len(sent(fake, PATH)) == 1
