"""What people say in Slack in place of writing: clips are transcribed, by Slack or here, and answered as questions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bots.slack import files as slack_files
from tests.bots.conftest import HI, SECONDS, Bob, Start, answered, closed, comes_true, held, settled, turns
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.core.fixtures.files import mp4
from tests.core.test_files import seen, texts
from tests.core.test_threads import sent
from tests.fakes.openai_api import FakeOpenAI, Status
from tests.fakes.openai_audio import PATH
from tests.fakes.slack_api import FakeSlack

SAID = "What time is it?"
HEARD = f"> 🎙 {SAID}\n\n"


@pytest.fixture(autouse=True)
def _quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slack_files, "SECONDS_BETWEEN_LOOKS", (0.01,))


def clip(slack: FakeSlack, said: str | None = None, *, has_more: bool = False, **how: Any) -> str:
    """A clip that somebody recorded in Slack; with what Slack heard in it, where it has `said` so."""
    more: dict[str, Any] = {"subtype": "slack_audio", "duration_ms": 3_200, **how.pop("more", {})}
    if said is not None:
        preview = {"content": said, "has_more": has_more}
        more["transcription"] = {"status": "complete", "locale": "en-US", "preview": preview}
    return slack.add_file("audio_message.mp4", mp4(), "video/mp4", more=more, **how)


async def test_what_is_said_in_place_of_words_is_answered_and_shown_as_it_was_heard(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    asked = seen(fake)
    async with bob():
        ts = slack.says("U1", "C1", HI, files=[clip(slack)])
        assert await answered(slack, "C1", ts) == f"{HEARD}Well."
    assert f"writes:\n> {SAID}\n\nAttached: voice message " in texts(asked[0])
    assert "instruction to you" not in texts(asked[0])
    assert "(no words)" not in texts(asked[0])
    assert [turn["question"] for turn in turns(sqlite_url)] == [SAID]
    assert [each.data for each in fake.spoken] == [mp4()]


async def test_a_conversation_is_named_by_what_was_said(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    seen(fake)
    async with bob():
        ts = slack.says("U1", "D1", "", files=[clip(slack)])
        await answered(slack, "D1", ts)
    assert slack.session_titles["D1", ts] == SAID


@pytest.mark.parametrize("is_stub", [False, True], ids=["in the event", "of the file"])
async def test_what_slack_has_heard_is_taken_and_nothing_is_downloaded(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, is_stub: bool
) -> None:
    asked = seen(fake)
    async with bob():
        ts = slack.says("U1", "D1", "", files=[clip(slack, "And now?", is_stub=is_stub)])
        assert await answered(slack, "D1", ts) == "> 🎙 And now?\n\nWell."
    assert "> And now?\n" in texts(asked[0])
    assert "(0:03): what is written above was said in it" in texts(asked[0])
    assert slack.downloads == []
    assert fake.spoken == []


async def test_what_slack_heard_in_part_is_transcribed_as_a_whole(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    async with bob():
        ts = slack.says("U1", "D1", "", files=[clip(slack, "What", has_more=True)])
        assert await answered(slack, "D1", ts) == f"{HEARD}Well."
    assert texts(asked[0]).count("What") == 1


async def test_what_slack_heard_in_part_is_told_where_the_rest_cannot_be_had(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    fake.fail("POST", PATH, Status(400, message="Audio file might be corrupted"))
    async with bob():
        ts = slack.says("U1", "D1", "", files=[clip(slack, "What 97 38", has_more=True)])
        why = "it cannot be transcribed: it is damaged, or of a kind that is not taken"
        assert await answered(slack, "D1", ts) == f"_I have not seen: audio message.mp4 ({why})_\n\nWell."
    assert "audio message.mp4:\n> What 97 38" in texts(asked[0])


async def test_a_recording_beside_words_is_told_beside_them(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    asked = seen(fake)
    async with bob():
        song = slack.add_file("song.m4a", mp4(), "audio/mp4")
        ts = slack.says("U1", "D1", "what is this?", files=[song])
        assert await answered(slack, "D1", ts) == f"{HEARD}Well."
    assert "> what is this?\n" in texts(asked[0])
    assert 'Attached: recording "song.m4a" (0:03). What follows after' in texts(asked[0])


async def test_a_recording_that_was_not_said_here_is_no_question(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    async with bob():
        ts = slack.says("U1", "D1", "", files=[slack.add_file("meeting.m4a", mp4(), "audio/mp4")])
        await answered(slack, "D1", ts)
    assert "> (no words)\n" in texts(asked[0])
    assert 'recording "meeting.m4a"' in texts(asked[0])


@pytest.mark.parametrize("said", [None, "And now?"], ids=["transcribed here", "transcribed by Slack"])
async def test_a_clip_of_somebody_else_is_no_question_of_who_shares_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, said: str | None
) -> None:
    asked = seen(fake)
    async with bob():
        ts = slack.says("U1", "D1", "", files=[clip(slack, said, user="U2")])
        await answered(slack, "D1", ts)
    assert "> (no words)\n" in texts(asked[0])
    assert "Attached: recording " in texts(asked[0])
    assert "no instruction to you" in texts(asked[0])


async def test_what_was_heard_notifies_nobody_and_is_shown_cut(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    seen(fake)
    fake.hear = lambda _: "<!channel> *wake* up " + "word " * 100
    async with bob():
        ts = slack.says("U1", "C1", HI, files=[clip(slack)])
        shown = await answered(slack, "C1", ts)
    assert shown.startswith("> 🎙 !channel wake up word word")
    assert shown.endswith("…\n\nWell.")
    assert len(shown) < 300


@pytest.mark.parametrize("said", [None, f"97 38 08 or {PASSWORD}"], ids=["transcribed here", "transcribed by Slack"])
async def test_a_password_that_is_spoken_opens_nothing_and_is_kept_told_and_shown_nowhere(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, said: str | None
) -> None:
    asked = seen(fake)
    fake.hear = lambda _: f"97 38 08 or {PASSWORD}"
    async with bob():
        ts = slack.says("U1", "D1", "", files=[clip(slack, said)])
        assert await answered(slack, "D1", ts) == "> 🎙 •••••• or ••••••\n\nWell."
    assert "> •••••• or ••••••" in texts(asked[0])
    for place in (fake.texts(), contents(sqlite_url)):
        assert PASSWORD not in place
        assert "97 38 08" not in place


async def test_what_is_said_to_the_private_assistant_is_in_no_request_of_the_public_one(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    asked = seen(fake)
    fake.hear = lambda _: "SECRET-1"
    async with bob() as running:
        await running.chat.unlock(f"slack:{slack.team}:U1", f"slack:{slack.team}:D1", "slack", PASSWORD)
        ts = slack.says("U1", "D1", "", files=[clip(slack)])
        assert await answered(slack, "D1", ts) == "🔒 _Private-Bob_\n\n> 🎙 SECRET-1\n\nWell."
        await running.chat.lock(f"slack:{slack.team}:U1", f"slack:{slack.team}:D1")
        slack.says("U1", "D1", "and now?", thread_ts=ts)
        assert len(await settled(slack, "D1", ts, 2)) == 2
    assert ["SECRET-1" in texts(each) for each in asked] == [True, False]


# ── once, whoever dies ───────────────────────────────────────────────────────────────────────────────────────────────


async def _is_transcribed(slack: FakeSlack, fake: FakeOpenAI, running: Bob, patch: pytest.MonkeyPatch) -> None:
    """What was said is the turn's, and the process dies before that is prepared."""
    reached = asyncio.Event()

    async def for_ever(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    patch.setattr(running.chat._store.turns, "note_prepared", for_ever)
    slack.says("U1", "C1", HI, files=[clip(slack)])
    await asyncio.wait_for(reached.wait(), SECONDS)


async def _is_half_answered(slack: FakeSlack, fake: FakeOpenAI, running: Bob, _: pytest.MonkeyPatch) -> None:
    """The answer has begun to be shown, and the process dies before it is whole."""
    held(fake)
    ts = slack.says("U1", "C1", HI, files=[clip(slack)])
    await slack.until(lambda slack: any("First words" in each for each in slack.replies("C1", ts)), SECONDS)


@pytest.mark.parametrize("moment", [_is_transcribed, _is_half_answered])
async def test_whoever_takes_over_transcribes_nothing_again_and_answers_once(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, moment: Any
) -> None:
    async with bob() as running:
        with pytest.MonkeyPatch.context() as patch:
            await moment(slack, fake, running, patch)
            await running.dies()
    asked = seen(fake)
    async with bob():
        await closed(sqlite_url)
        (turn,) = turns(sqlite_url)
        thread = turn["event_id"].rpartition(":")[2]
        await comes_true(lambda: slack.replies("C1", thread) == [f"{HEARD}Well."])
    assert texts(asked[-1]).count(SAID) == 1
    assert turn["question"] == SAID
    assert len(fake.spoken) == len(sent(fake, PATH)) == 1
