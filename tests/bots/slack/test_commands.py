"""Commands: what people tell Bob to do in Slack instead of asking, in words, by `/bob`, by shortcuts and by buttons."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest

from bots.shared.controls import NOT_NOW, NOTHING_TO_RESET, NOTHING_TO_STOP, THANKS, WAS_RESET, forgotten
from bots.shared.prepare import NOT_SURE
from bots.slack import prepare as slack_prepare
from bots.slack.commands import (
    HELP,
    SUGGESTED_PROMPTS,
)
from bots.slack.prepare import ANOTHER_CHANNEL, ANOTHER_COMPANY, NOT_ON_THE_LIST, OTHERS_CAN_READ_IT
from core import PasswordsClosed, StoreUnavailable
from core.store.places import Places
from tests.bots.conftest import (
    HI,
    SECONDS,
    Over,
    Start,
    answered,
    asked,
    edited,
    heard,
    heard_again,
    held,
    settled,
    shown,
    turns,
)
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents, rows
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.slack_api import FakeSlack

OVER: list[Over] = ["socket", "http"]
ASSISTANTS = """
[[assistant]]
name = "Ann"
model = "model-of-ann"
instructions = "Be Ann."

[[assistant]]
name = "Ben"
model = "model-of-ben"
instructions = "Be Ben."

[[assistant]]
name = "Eve"
model = "model-of-eve"
instructions = "Be Eve."
private = true
password_from = "PRIVATE_BOB_PASSWORD"
"""


@pytest.fixture
def assistants(fake: FakeOpenAI, tmp_path: Path) -> Path:
    """A file of three assistants. Each answer names the model that gave it."""
    path = tmp_path / "assistants.toml"
    path.write_text(ASSISTANTS)
    fake.answer = lambda asked: asked.model
    return path


async def ask(slack: FakeSlack, user: str, channel: str, text: str) -> str:
    """What is answered to a question at top level."""
    return await answered(slack, channel, slack.says(user, channel, f"{HI} {text}"))


# ── words in a thread ────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("channel", "word"), [("C1", "reset"), ("C1", f"{HI}: !reset!"), ("D1", "Reset.")])
async def test_after_a_reset_nothing_that_was_said_before_is_told_any_more(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, channel: str, word: str
) -> None:
    async with bob():
        ts = slack.says("U1", channel, f"{HI} one")
        await settled(slack, channel, ts)
        command = slack.says("U1", channel, word, thread_ts=ts)
        await shown(slack, channel, ts, WAS_RESET)
        await heard_again(slack, command)
        slack.says("U1", channel, "two", thread_ts=ts)
        *_, answer = await settled(slack, channel, ts, 3)
        assert answer.removeprefix("You asked: ").removeprefix("Ada: ") == "two."
        assert slack.replies(channel, ts).count(WAS_RESET) == 1
    assert len(asked(fake)) == 2


@pytest.mark.parametrize("channel", ["C1", "G1", "D1"])
async def test_words_at_top_level_are_heard_as_well(
    slack: FakeSlack, bob: Start, sqlite_url: str, channel: str
) -> None:
    words = {"reset": NOTHING_TO_RESET, "stop": NOTHING_TO_STOP, "help": HELP, "!help": HELP}
    async with bob():
        for word, sentence in words.items():
            ts = slack.says("U1", channel, word if channel == "D1" else f"{HI} {word}")
            assert await answered(slack, channel, ts) == sentence
            await heard_again(slack, ts)
            assert slack.replies(channel, ts) == [sentence]
    assert turns(sqlite_url) == []


async def test_words_in_a_thread_that_bob_takes_no_part_in_are_not_for_him(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "who starts?")
        for word in ("reset", "stop", "help", "assistant Bob"):
            slack.says("U1", "C1", word, thread_ts=ts)
        await slack.idle()
        assert slack.replies("C1", ts) == []


async def test_a_message_that_only_begins_with_a_command_is_a_question(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        for text in ("help me", "please stop", "reset the router", "assistant of the year", "stop stop"):
            assert await answered(slack, "D1", slack.says("U1", "D1", text)) == f"You asked: {text}."


async def test_a_reset_while_an_answer_is_written_waits_for_nothing(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", ts, "First words.")
        slack.says("U2", "C1", "reset", thread_ts=ts)
        await shown(slack, "C1", ts, WAS_RESET)
        let_go()
        await shown(slack, "C1", ts, "First words. Last words.")
        fake.answer = lambda asked: " ".join(asked.questions)
        slack.says("U1", "C1", "two", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 3))[-1] == "Ada: two"


async def test_help_while_an_answer_is_written_waits_for_nothing(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", ts, "First words.")
        slack.says("U2", "C1", "help", thread_ts=ts)
        await shown(slack, "C1", ts, HELP)
        let_go()
        await shown(slack, "C1", ts, "First words. Last words.")


# ── stop ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

STOPPED = "First words. \n\n_Stopped._"


@pytest.mark.parametrize("native", [True, False], ids=["streamed", "posted"])
async def test_stop_ends_the_answer_and_keeps_and_marks_what_there_is(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, native: bool
) -> None:
    slack.native_streaming = native
    held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", ts, "First words.")
        slack.says("U2", "C1", "stop", thread_ts=ts)
        await shown(slack, "C1", ts, "_Stopped._")
        assert await answered(slack, "C1", ts) == STOPPED
        await fake.until(lambda fake: fake.active == 0)
    assert [turn["outcome"] for turn in turns(sqlite_url)] == ["stopped"]


@pytest.mark.parametrize(("stopper", "asked_after_all"), [("U1", "Grace: two"), ("U2", "Ada: three")])
async def test_stop_ends_the_answer_being_written_and_what_the_same_person_waits_for(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, stopper: str, asked_after_all: str
) -> None:
    held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", ts, "First words.")
        await heard(slack, slack.says("U2", "C1", "two", thread_ts=ts))
        await heard(slack, slack.says("U1", "C1", "three", thread_ts=ts))
        fake.answer = lambda asked: f"Answer to {asked.question}"
        slack.says(stopper, "C1", "stop", thread_ts=ts)
        await shown(slack, "C1", ts, f"Answer to {asked_after_all}")
        replies = await settled(slack, "C1", ts, 3)
    assert sorted(replies) == sorted([STOPPED, f"Answer to {asked_after_all}", "_Stopped._"])
    assert asked(fake) == ["Ada: one", asked_after_all]
    assert sorted(str(turn["outcome"]) for turn in turns(sqlite_url)) == ["answered", "stopped", "stopped"]


async def test_stop_stops_nothing_that_is_asked_after_it(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", ts, "First words.")
        command = slack.says("U1", "C1", "stop", thread_ts=ts)
        await shown(slack, "C1", ts, "_Stopped._")
        let_go = held(fake, "Second ", "answer.")
        slack.says("U1", "C1", "two", thread_ts=ts)
        await shown(slack, "C1", ts, "Second")
        await heard_again(slack, command)
        let_go()
        assert (await settled(slack, "C1", ts, 2))[-1] == "Second answer."
        await slack.idle()
        assert slack.replies("C1", ts) == [STOPPED, "Second answer."]


async def test_stop_where_nothing_is_written_any_more_says_so_once(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} one")
        await settled(slack, "C1", ts)
        command = slack.says("U1", "C1", f"{HI} stop", thread_ts=ts)
        await shown(slack, "C1", ts, NOTHING_TO_STOP)
        await heard_again(slack, command)
        assert slack.replies("C1", ts) == ["You asked: Ada: one.", NOTHING_TO_STOP]


@pytest.mark.parametrize(("channel", "native"), [("C1", True), ("D1", True), ("D1", False)])
async def test_slacks_own_stop_ends_the_answer_and_no_later_one_though_it_is_delivered_twice(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, channel: str, native: bool
) -> None:
    slack.native_streaming = native
    held(fake)
    async with bob():
        ts = slack.says("U1", channel, f"{HI} one")
        await shown(slack, channel, ts, "First words.")
        slack.presses_stop("U1", channel, ts)
        await shown(slack, channel, ts, "_Stopped._")
        assert await answered(slack, channel, ts) == STOPPED
        let_go = held(fake, "Second ", "answer.")
        slack.says("U1", channel, "two", thread_ts=ts)
        await shown(slack, channel, ts, "Second")
        (pressed,) = [each.ts for each in slack.deliveries if each.type == "agent_session_stopped"]
        await heard_again(slack, pressed)
        let_go()
        assert await settled(slack, channel, ts, 2) == [STOPPED, "Second answer."]


async def test_slacks_own_stop_ends_an_answer_that_has_no_words_yet(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    held(fake, after=0)
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await fake.until(lambda fake: fake.active == 1)
        slack.presses_stop("U1", "D1", ts)
        assert await answered(slack, "D1", ts) == "_Stopped._"


# ── who answers ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_thread_has_the_assistant_that_was_chosen_in_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, assistants: Path
) -> None:
    async with bob(assistants_file=assistants):
        ts = slack.says("U1", "C1", f"{HI} one")
        await settled(slack, "C1", ts)
        slack.says("U2", "C1", "assistant Ben", thread_ts=ts)
        await shown(slack, "C1", ts, "Ben answers in this thread from now on.")
        slack.says("U1", "C1", "two", thread_ts=ts)
        replies = await settled(slack, "C1", ts, 3)
        assert [reply for reply in replies if reply.startswith("model-of")] == ["model-of-ann", "model-of-ben"]
        assert await ask(slack, "U1", "C1", "three") == "model-of-ann"


async def test_an_assistant_can_be_chosen_for_a_thread_that_begins_with_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, assistants: Path
) -> None:
    async with bob(assistants_file=assistants):
        ts = slack.says("U1", "D1", "assistant ben")
        assert await answered(slack, "D1", ts) == "Ben answers in this thread from now on."
        slack.says("U1", "D1", "one", thread_ts=ts)
        assert (await settled(slack, "D1", ts, 2))[-1] == "model-of-ben"


async def test_who_can_be_chosen_is_told_and_private_assistants_are_not_among_them(
    slack: FakeSlack, bob: Start, assistants: Path
) -> None:
    async with bob(assistants_file=assistants):
        for said in ("assistant", "assistant Eve", "assistant Zed"):
            ts = slack.says("U1", "D1", said)
            sentence = await answered(slack, "D1", ts)
            assert "These can answer: Ann, Ben." in sentence
            assert "Eve" not in sentence
            slack.says("U1", "D1", "one", thread_ts=ts)
            assert (await settled(slack, "D1", ts, 2))[-1] == "model-of-ann"


@pytest.mark.parametrize("over", OVER)
async def test_a_channel_has_the_assistant_that_was_chosen_for_it_where_a_thread_has_no_other(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, assistants: Path, over: Over
) -> None:
    async with bob(over=over, assistants_file=assistants):
        ts = slack.says("U1", "C1", f"{HI} zero")
        await settled(slack, "C1", ts)
        slack.says("U1", "C1", "assistant Ann", thread_ts=ts)
        await shown(slack, "C1", ts, "Ann answers in this thread")
        chosen = await slack.slash("U2", "C1", "/bob", "assistant Ben")
        assert chosen.text == "Ben answers in this channel from now on."
        assert await ask(slack, "U1", "C1", "one") == "model-of-ben"
        assert await ask(slack, "U1", "C2", "two") == "model-of-ann"
        slack.says("U1", "C1", "three", thread_ts=ts)
        assert (await settled(slack, "C1", ts, 3))[-1] == "model-of-ann"
    async with bob(over=over, assistants_file=assistants):
        assert await ask(slack, "U1", "C1", "four") == "model-of-ben"


# ── /bob ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("over", OVER)
async def test_the_command_answers_whoever_typed_it_with_what_can_be_done(
    slack: FakeSlack, bob: Start, sqlite_url: str, over: Over
) -> None:
    async with bob(over=over):
        for text in ("", "help", "HELP", "stop", "reset"):
            told = await slack.slash("U1", "C2", "/bob", text)
            assert told.text == HELP
            assert (told.acked_after or SECONDS) < 3
        assert [message.visible for message in slack.ephemerals("C2", "U1")] == [HELP] * 5
        assert slack.messages("C2") == []
    assert turns(sqlite_url) == []


async def test_the_command_lists_who_can_answer(slack: FakeSlack, bob: Start, assistants: Path) -> None:
    async with bob(assistants_file=assistants):
        for text in ("assistant", "assistant Eve"):
            told = (await slack.slash("U1", "C1", "/bob", text)).text
            assert "These can answer: Ann, Ben." in told
            assert "Eve" not in told


async def test_a_command_that_cannot_be_stored_says_so(
    slack: FakeSlack, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(Places, "choose_in", fail)
    monkeypatch.setattr(Places, "lock", fail)
    async with bob():
        for text in ("assistant Bob", "lock"):
            assert (await slack.slash("U1", "C1", "/bob", text)).text == NOT_NOW


# ── unlocking ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def unlocked(slack: FakeSlack, user: str, channel: str, password: str) -> str:
    """What somebody reads after typing a password into the window: what to correct, or the window's next text."""
    if not slack.open_views(user):
        await slack.slash(user, channel, "/bob", "unlock")
        await slack.until(lambda slack: slack.open_views(user))
    view = slack.open_views(user)[-1]
    submitted = await slack.submits(user, view["id"], {"password": {"typed": password}})
    if submitted.errors:
        return str(submitted.errors["password"])
    view = slack.open_views(user)[-1]
    slack.closes(user, view["id"])
    return str(view["blocks"][0]["text"]["text"])


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("channel", ["C1", "D1"])
async def test_a_password_in_the_window_opens_the_private_assistant_for_that_person_in_that_place(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, assistants: Path, sqlite_url: str, over: Over, channel: str,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    async with bob(over=over, assistants_file=assistants):
        assert "opens nothing" in await unlocked(slack, "U1", channel, "111111")
        assert (await unlocked(slack, "U1", channel, f" {PASSWORD} ")).startswith("Eve answers you here for the next")
        assert await ask(slack, "U1", channel, "one") == "🔒 _Eve_\n\nmodel-of-eve"
        assert await ask(slack, "U1", "C2", "two") == "model-of-ann"
        assert await ask(slack, "U2", "C1", "three") == "model-of-ann"
        assert (await slack.slash("U1", channel, "/bob", "lock")).text == "It is locked again here."
        assert await ask(slack, "U1", channel, "four") == "model-of-ann"
        assert (await slack.slash("U1", channel, "/bob", "lock")).text == "There is nothing unlocked here."
    assert PASSWORD not in contents(sqlite_url) + fake.texts() + caplog.text


PIN = "482913"


async def test_twenty_wrong_passwords_close_the_window_even_to_the_right_one(
    slack: FakeSlack, bob: Start, assistants: Path
) -> None:
    async with bob(assistants_file=assistants, private_bob_password=PIN):
        for number in range(20):
            assert "opens nothing" in await unlocked(slack, "U1", "C1", f"{111_111 + number}")
        assert await unlocked(slack, "U1", "C1", "222222") == PasswordsClosed.sentence
        assert await unlocked(slack, "U1", "C1", PIN) == PasswordsClosed.sentence
        assert await ask(slack, "U1", "C1", "one") == "model-of-ann"
        assert (await unlocked(slack, "U2", "C1", PIN)).startswith("Eve answers you here")


async def test_who_types_a_password_where_others_read_is_told_so_and_nobody_else_is(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, assistants: Path, sqlite_url: str
) -> None:
    async with bob(assistants_file=assistants):
        assert await ask(slack, "U1", "C1", f"{PASSWORD} what about the merger?") == "🔒 _Eve_\n\nmodel-of-eve"
        assert [message.visible for message in slack.ephemerals("C1", "U1")] == [OTHERS_CAN_READ_IT]
        assert slack.ephemerals("C1", "U2") == []
        assert await ask(slack, "U1", "D1", f"{PASSWORD} and now?") == "🔒 _Eve_\n\nmodel-of-eve"
        assert slack.ephemerals("D1", "U1") == []
    assert PASSWORD not in contents(sqlite_url) + fake.texts()


HEARD = "🔒 _Private-Bob_\n\nI heard the password."


async def test_a_password_alone_is_heard_and_no_model_is_asked(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        assert (await answered(slack, "D1", slack.says("U1", "D1", PASSWORD))).startswith(HEARD)
    assert asked(fake) == []


# ── forgetting ───────────────────────────────────────────────────────────────────────────────────────────────────────


async def forgets(slack: FakeSlack, user: str, channel: str, ts: str) -> str:
    """What somebody reads after confirming that Bob shall forget a thread."""
    await slack.shortcut(user, channel, ts, "forget_thread")
    await slack.until(lambda slack: slack.open_views(user))
    view = slack.open_views(user)[-1]
    assert "cannot be undone" in view["blocks"][0]["text"]["text"]
    await slack.submits(user, view["id"])
    view = slack.open_views(user)[-1]
    slack.closes(user, view["id"])
    return str(view["blocks"][0]["text"]["text"])


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("user", ["U1", "U3"], ids=["starter", "admin"])
async def test_whoever_began_a_conversation_or_an_admin_can_let_bob_forget_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, over: Over, user: str
) -> None:
    async with bob(over=over):
        ts = slack.says("U1", "C1", f"{HI} confidential")
        await settled(slack, "C1", ts)
        (answer,) = slack.bot_messages("C1", ts)
        assert await forgets(slack, user, "C1", answer.ts) == forgotten("Slack")
        assert "confidential" not in contents(sqlite_url)
        await fake.until(lambda fake: not [c for c in fake.conversations.values() if c.items])
        assert slack.replies("C1", ts) == ["You asked: Ada: confidential."]


async def test_others_cannot_let_bob_forget_a_conversation(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} confidential")
        await settled(slack, "C1", ts)
        assert (await forgets(slack, "U2", "C1", ts)).startswith("Only whoever began this conversation")
        slack.fail("users.info", "internal_error", status=500, times=None)
        assert (await forgets(slack, "U3", "C1", ts)).startswith("Only whoever began this conversation")
        assert "confidential" in contents(sqlite_url)


async def test_of_a_thread_that_bob_does_not_know_there_is_nothing_to_forget(slack: FakeSlack, bob: Start) -> None:
    async with bob():
        ts = slack.says("U1", "C1", "lunch?")
        assert await forgets(slack, "U1", "C1", ts) == "I keep nothing of this conversation."


async def test_nothing_is_forgotten_before_it_is_confirmed(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} confidential")
        await settled(slack, "C1", ts)
        await slack.shortcut("U1", "C1", ts, "forget_thread")
        await slack.until(lambda slack: slack.open_views("U1"))
        slack.closes("U1", slack.open_views("U1")[-1]["id"])
        await slack.idle()
        assert "confidential" in contents(sqlite_url)


async def test_a_thread_can_be_forgotten_while_it_is_answered(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake, "Confidential words. ", "More.")
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} confidential")
        await shown(slack, "C1", ts, "Confidential words.")
        assert await forgets(slack, "U1", "C1", ts) == forgotten("Slack")
        await fake.until(lambda fake: fake.active == 0)
        await slack.until(lambda slack: slack.sessions["C1", ts] == "active")
        assert "onfidential" not in contents(sqlite_url)
        fake.answer = lambda asked: " ".join(asked.questions)
        assert await ask(slack, "U1", "C1", "hello") == "Ada: hello"


# ── feedback ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("over", OVER)
@pytest.mark.parametrize("native", [True, False], ids=["streamed", "posted"])
async def test_everybody_can_say_what_they_think_of_an_answer_and_change_their_mind(
    slack: FakeSlack, bob: Start, sqlite_url: str, over: Over, native: bool
) -> None:
    slack.native_streaming = native
    async with bob(over=over):
        ts = slack.says("U1", "C1", f"{HI} one")
        await settled(slack, "C1", ts)
        (answer,) = slack.bot_messages("C1", ts)
        for number, (user, value) in enumerate([("U1", "bad"), ("U2", "bad"), ("U1", "good")], 1):
            await slack.clicks(user, "C1", answer.ts, "feedback", value)
            await slack.until(lambda _: len(slack.ephemerals("C1", "U1") + slack.ephemerals("C1", "U2")) == number)  # noqa: B023
        assert {message.visible for message in slack.ephemerals("C1", "U1")} == {THANKS}
        assert [message.visible for message in slack.ephemerals("C1", "U2")] == [THANKS]
    rated = rows(sqlite_url, "SELECT turn_id, person, good FROM feedback ORDER BY person")
    (turn,) = turns(sqlite_url)
    assert [(row["turn_id"], row["person"], bool(row["good"])) for row in rated] == [
        (turn["id"], "slack:T0TEAM:U1", True), (turn["id"], "slack:T0TEAM:U2", False)
    ]  # fmt: skip


async def test_buttons_under_an_answer_work_after_a_restart(slack: FakeSlack, bob: Start, sqlite_url: str) -> None:
    async with bob():
        ts = slack.says("U1", "D1", "one")
        await settled(slack, "D1", ts)
    (answer,) = slack.bot_messages("D1", ts)
    async with bob():
        await slack.clicks("U1", "D1", answer.ts, "feedback", "good")
        await slack.until(lambda slack: slack.ephemerals("D1", "U1"))
    assert len(rows(sqlite_url, "SELECT * FROM feedback")) == 1


# ── first sight, and who may ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("over", OVER)
async def test_whoever_opens_the_messages_with_bob_is_offered_questions(
    slack: FakeSlack, bob: Start, over: Over
) -> None:
    async with bob(over=over):
        slack.opens_home("U1")
        slack.opens_messages_tab("U1")
        await slack.until(lambda slack: slack.prompts)
        assert slack.prompts == {("D1", ""): [{"title": title, "message": text} for title, text in SUGGESTED_PROMPTS]}


@pytest.mark.parametrize(
    ("user", "channel", "settings"),
    [
        ("U2", "C1", {"slack_people": "U1"}),
        ("U3", "C1", {"slack_people": "S1"}),
        ("U1", "C2", {"slack_channels": "C1"}),
    ],
)
async def test_commands_of_people_who_may_not_ask_are_not_carried_out(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, user: str, channel: str, settings: dict[str, Any]
) -> None:
    async with bob():
        ts = slack.says("U1", channel, f"{HI} one")
        await settled(slack, channel, ts)
    let_go = held(fake)
    async with bob(**settings) as running:
        if channel == "C1":
            slack.says("U1", "C1", "two", thread_ts=ts)
            await shown(slack, "C1", ts, "First words.")
        await heard(slack, slack.says(user, channel, "reset", thread_ts=ts))
        await heard(slack, slack.says(user, channel, "stop", thread_ts=ts))
        assert (await slack.slash(user, channel, "/bob", "assistant Bob")).text.startswith("Sorry, ")
        await slack.slash(user, channel, "/bob", "unlock")
        let_go()
        if channel == "C1":
            assert (await settled(slack, "C1", ts, 2))[-1] == "First words. Last words."
        assert slack.open_views(user) == []
        command = slack.says(user, channel, f"{HI} reset", thread_ts=ts)
        await heard(slack, command)
        replies = await settled(slack, channel, ts, 3 if channel == "C1" else 2)
        assert replies[-1].startswith("Sorry, ")
        assert WAS_RESET not in replies
        assert await running.chat.engaged_by(f"slack:{slack.team}:{channel}:{ts}")


# ── whoever may not ask may not do anything else ─────────────────────────────────────────────────────────────────────

REFUSED: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "another channel": ("U1", "C1", {"slack_channels": "C2"}, ANOTHER_CHANNEL),
    "not on the list": ("U1", "C1", {"slack_people": "U2"}, NOT_ON_THE_LIST),
    "in no group of the list": ("U3", "D3", {"slack_people": "S1"}, NOT_ON_THE_LIST),
    "of another company": ("U8", "C8", {}, ANOTHER_COMPANY),
    "nobody can tell": ("U1", "C1", {"slack_people": "S9"}, NOT_SURE),
}
REFUSALS = pytest.mark.parametrize(("user", "channel", "settings", "sentence"), REFUSED.values(), ids=REFUSED)


async def deliver(slack: FakeSlack, url: str, payload: dict[str, Any]) -> int:
    """Deliver an interaction of any shape over HTTP, signed. What is returned is the status of the answer."""
    body = urlencode({"payload": json.dumps(payload)}).encode()
    headers = {**slack.signed_headers(body), "Content-Type": "application/x-www-form-urlencoded"}
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers=headers) as told:
        return told.status


async def a_conversation(slack: FakeSlack, bob: Start, user: str, channel: str) -> tuple[str, str]:
    """A question of somebody's and Bob's answer to it, of a time when everybody might ask: their timestamps."""
    async with bob(slack_strangers=True):
        ts = slack.says(user, channel, f"{HI} confidential")
        await settled(slack, channel, ts)
    (answer,) = slack.bot_messages(channel, ts)
    return ts, answer.ts


def text_of(view: dict[str, Any]) -> str:
    """What a window says."""
    return str(view["blocks"][0]["text"]["text"])


@pytest.mark.one_in(2)
@REFUSALS
async def test_a_shortcut_of_somebody_who_may_not_ask_opens_no_window_to_forget_in(
    slack: FakeSlack, bob: Start, user: str, channel: str, settings: dict[str, Any], sentence: str
) -> None:
    _, answer = await a_conversation(slack, bob, user, channel)
    async with bob(**settings):
        assert (await slack.shortcut(user, channel, answer, "forget_thread")).acknowledged
        await slack.until(lambda slack: slack.open_views(user))
        (view,) = slack.open_views(user)
        assert (text_of(view), view["submit"]) == (sentence, None)


@pytest.mark.one_in(2)
@REFUSALS
async def test_nothing_is_forgotten_for_somebody_who_may_not_ask_any_more_when_they_confirm_it(
    slack: FakeSlack, bob: Start, sqlite_url: str, user: str, channel: str, settings: dict[str, Any], sentence: str
) -> None:
    _, answer = await a_conversation(slack, bob, user, channel)
    async with bob(slack_strangers=True):
        await slack.shortcut(user, channel, answer, "forget_thread")
        await slack.until(lambda slack: slack.open_views(user))
    async with bob(**settings):
        (view,) = slack.open_views(user)
        await slack.submits(user, view["id"])
        assert text_of(slack.open_views(user)[-1]) == sentence
        assert "confidential" in contents(sqlite_url)


@pytest.mark.one_in(2)
@REFUSALS
async def test_no_password_opens_anything_for_somebody_who_may_not_ask_any_more_when_they_send_it(
    slack: FakeSlack, bob: Start, assistants: Path, user: str, channel: str, settings: dict[str, Any], sentence: str
) -> None:
    async with bob(slack_strangers=True, assistants_file=assistants):
        await slack.slash(user, channel, "/bob", "unlock")
        await slack.until(lambda slack: slack.open_views(user))
    async with bob(assistants_file=assistants, **settings):
        (view,) = slack.open_views(user)
        await slack.submits(user, view["id"], {"password": {"typed": PASSWORD}})
        assert text_of(slack.open_views(user)[-1]) == sentence
    async with bob(slack_strangers=True, assistants_file=assistants):
        assert await ask(slack, user, channel, "one") == "model-of-ann"


@pytest.mark.one_in(2)
@REFUSALS
async def test_what_somebody_who_may_not_ask_thinks_of_an_answer_is_not_kept(
    slack: FakeSlack, bob: Start, sqlite_url: str, user: str, channel: str, settings: dict[str, Any], sentence: str
) -> None:
    _, answer = await a_conversation(slack, bob, user, channel)
    async with bob(**settings):
        assert (await slack.clicks(user, channel, answer, "feedback", "bad")).acknowledged
        await slack.until(lambda slack: slack.ephemerals(channel, user))
        assert [message.visible for message in slack.ephemerals(channel, user)] == [sentence]
    assert rows(sqlite_url, "SELECT * FROM feedback") == []


@pytest.mark.parametrize(
    ("user", "channel", "settings"),
    [
        ("U2", "C1", {"slack_people": "U1"}),
        ("U3", "C1", {"slack_people": "S1"}),
        ("U8", "C8", {}),
    ],
)
async def test_slacks_own_stop_stops_nothing_for_somebody_who_may_not_ask(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, user: str, channel: str, settings: dict[str, Any]
) -> None:
    slack.native_streaming = False
    let_go = held(fake)
    async with bob(**settings):
        ts = slack.says("U1", channel, f"{HI} one")
        await shown(slack, channel, ts, "First words.")
        slack.presses_stop(user, channel, ts)
        await slack.idle()
        let_go()
        assert await answered(slack, channel, ts) == "First words. Last words."


async def test_whoever_leaves_the_group_that_may_ask_can_change_and_stop_no_question_of_theirs(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack_prepare, "SECONDS_A_GROUP_IS_KNOWN", 0.0)
    slack.native_streaming = False
    let_go = held(fake)
    async with bob(slack_people="S1"):
        ts = slack.says("U1", "C1", f"{HI} one")
        await shown(slack, "C1", ts, "First words.")
        slack.add_usergroup("S1", "engineers", ["U2"])
        await edited(slack, "C1", ts, f"{HI} two")
        slack.presses_stop("U1", "C1", ts)
        await slack.idle()
        let_go()
        assert await answered(slack, "C1", ts) == "First words. Last words."
    assert asked(fake) == ["Ada: one"]


async def test_where_slack_does_not_say_what_company_somebody_is_of_it_is_found_out(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob(slack_strangers=True):
        ts = slack.says("U1", "C8", f"{HI} one")
        await settled(slack, "C8", ts)
    (answer,) = slack.bot_messages("C8", ts)
    async with bob(over="http") as running:
        for user in ("U1", "U8"):
            click = {
                "type": "block_actions", "user": {"id": user}, "team": {"id": slack.team}, "enterprise": None,
                "container": {"type": "message", "message_ts": answer.ts, "channel_id": "C8", "thread_ts": ts},
                "channel": {"id": "C8"}, "actions": [{"action_id": "feedback", "block_id": "b", "type": "button",
                "value": "good"}],
            }  # fmt: skip
            await deliver(slack, running.url, click)
        await slack.until(lambda slack: slack.ephemerals("C8", "U1") and slack.ephemerals("C8", "U8"))
        assert [message.visible for message in slack.ephemerals("C8", "U1")] == [THANKS]
        assert [message.visible for message in slack.ephemerals("C8", "U8")] == [ANOTHER_COMPANY]
    assert [row["person"] for row in rows(sqlite_url, "SELECT person FROM feedback")] == ["slack:T0TEAM:U1"]


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "message_action", "callback_id": "forget_thread"},
        {"type": "message_action", "callback_id": "forget_thread", "channel": {"id": "C1"}, "message": {"ts": "1.2"}},
        {"type": "block_actions", "actions": [{"action_id": "feedback", "block_id": "b", "type": "button"}]},
        {"type": "view_submission", "view": {"type": "modal", "callback_id": "unlock"}},
        {"type": "view_submission", "view": {"type": "modal", "callback_id": "forget_thread"}},
        {"type": "view_submission", "view": {"type": "modal", "callback_id": "unlock", "private_metadata": "x:y"}},
    ],
)
async def test_what_slack_leaves_out_of_an_interaction_is_no_error(
    slack: FakeSlack, bob: Start, payload: dict[str, Any]
) -> None:
    sender = {"user": {"id": "U1"}, "team": {"id": slack.team, "domain": "x"}}
    async with bob(over="http") as running:
        assert await deliver(slack, running.url, {**sender, **payload}) == 200
        await slack.idle()


async def test_long_answers_hold_up_no_command_in_another_thread(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: Reply(pieces=["word "] * 100, delay=0.02)
    async with bob():
        slack.says("U1", "D1", "long")
        ts = slack.says("U2", "D2", "help")
        assert await answered(slack, "D2", ts) == HELP
        assert (await slack.slash("U2", "D2", "/bob", "help")).text == HELP
