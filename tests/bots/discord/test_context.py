"""Context: what was said on Discord before a question reaches the model along with it, within bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bots.discord import prepare as discord_prepare
from bots.discord.prepare import MOST_REPLIES, WHAT_IT_REPLIED_TO
from bots.shared.quotes import LEFT_OUT
from bots.shared.words import OVERHEARD, after_a_gap
from tests.bots.conftest import asked, closed
from tests.bots.discord.conftest import HI, Start, answer
from tests.bots.discord.test_gating import answers, reads_all
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI

ABOUT = "The message that this is about"
HISTORY = "/channels/{channel}/messages"


def overheard(*lines: str) -> str:
    """What the model is told first of what was said above a mention."""
    return "\n".join([f"{OVERHEARD}:", *lines, "", ""])


# ── above a mention ──────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("channel", ["general", "news"])
async def test_what_is_said_above_a_mention_is_told_as_overheard_with_who_said_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, channel: str
) -> None:
    discord.says("grace", channel, f"shall <@{discord.user('root').id}> come at noon?", told=False)
    discord.says("otherbot", channel, "", embeds=[{"type": "rich", "title": "Rain"}], told=False)
    async with bob(**reads_all(discord)):
        await answer(discord, discord.says("ada", channel, f"{HI} when?"))
    assert asked(fake) == [overheard("Grace: shall @Root come at noon?", "otherbot (app): Rain") + "Ada: when?"]


@pytest.mark.parametrize(
    ("most", "told"), [(20, ["one", "two", "three"]), (2, ["two", "three"]), (1, ["three"]), (0, [])]
)
async def test_no_more_of_it_is_told_than_is_set_and_the_last_of_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, most: int, told: list[str]
) -> None:
    for text in ("one", "two", "three"):
        discord.says("grace", "news", text, told=False)
    async with bob(**reads_all(discord), discord_context_messages=most, discord_catch_up_seconds=0):
        await answer(discord, discord.says("ada", "news", f"{HI} when?"))
    before = overheard(*(f"Grace: {text}" for text in told)) if told else ""
    assert asked(fake) == [f"{before}Ada: when?"]
    assert len(discord.requests("GET", HISTORY)) == bool(most)


@pytest.mark.parametrize(("ago", "is_told"), [(3_590.0, True), (3_610.0, False)])
async def test_what_was_said_more_than_an_hour_before_is_not_told(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, ago: float, is_told: bool
) -> None:
    discord.says("grace", "news", "the cat is called Tom", ago=ago, told=False)
    async with bob(**reads_all(discord)):
        await answer(discord, discord.says("ada", "news", f"{HI} why?"))
    assert ("the cat is called Tom" in asked(fake)[0]) is is_told


@pytest.mark.parametrize("place", ["dm", "news"])
async def test_nothing_is_overheard_in_a_direct_message_nor_without_the_content_intent(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str
) -> None:
    settings = {**(reads_all(discord) if place == "dm" else {}), "discord_catch_up_seconds": 0}
    if place != "dm":
        discord.says("grace", place, "the cat is called Tom", told=False)
    async with bob(**settings):
        await answer(discord, discord.says("ada", place, "why?" if place == "dm" else f"{HI} why?"))
    assert asked(fake) == ["why?" if place == "dm" else "Ada: why?"]
    assert discord.requests("GET", HISTORY) == []


async def test_questions_and_answers_are_not_overheard_and_nothing_is_told_twice(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob(**reads_all(discord)):
        discord.says("grace", "news", "hello")
        await answer(discord, discord.says("ada", "news", f"{HI} who are you?"))
        discord.says("grace", "news", "a bot, I think")
        await answer(discord, discord.says("ada", "news", f"{HI} is that so?"))
    assert asked(fake) == [
        overheard("Grace: hello") + "Ada: who are you?", overheard("Grace: a bot, I think") + "Ada: is that so?",
    ]  # fmt: skip


async def test_what_cannot_be_overheard_costs_no_answer(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    discord.says("grace", "news", "the cat is called Tom", told=False)
    async with bob(**reads_all(discord)):
        discord.fail("GET", "/channels/*/messages", code=50001, times=None)
        await answer(discord, discord.says("ada", "news", f"{HI} why?"))
    assert asked(fake) == ["Ada: why?"]


async def test_no_password_that_is_overheard_opens_anything_or_is_kept(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    discord.says("grace", "news", f"it is {PASSWORD}", told=False)
    async with bob(private_bob_password=PASSWORD, **reads_all(discord)):
        assert "Private-Bob" not in await answer(discord, discord.says("ada", "news", f"{HI} what is it?"))
    assert asked(fake) == [overheard("Grace: it is ••••••") + "Ada: what is it?"]
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


# ── long threads ─────────────────────────────────────────────────────────────────────────────────────────────────────


def opened_from_a_message(discord: FakeDiscord) -> int:
    """A thread that was opened from a message."""
    return discord.opens_thread("grace", discord.says("grace", "general", "root", told=False))


def post_in_a_forum(discord: FakeDiscord) -> int:
    """A post in a forum."""
    return discord.posts("grace", "questions", "The cat", "root")


@pytest.mark.parametrize("opened", [opened_from_a_message, post_in_a_forum])
@pytest.mark.parametrize(("messages", "left_out"), [(3, 0), (7, 0), (20, 12)])
async def test_a_long_thread_is_told_by_its_beginning_the_number_of_what_is_left_out_and_what_was_said_last(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, messages: int, left_out: int,
    opened: Callable[[FakeDiscord], int],
) -> None:  # fmt: skip
    monkeypatch.setattr(discord_prepare, "EARLIER_MESSAGES", 8 if left_out else 10)
    thread = opened(discord)
    for number in range(1, messages + 1):
        discord.says("root", thread, f"message {number}", told=False)
    async with bob(**reads_all(discord)):
        discord.says("ada", thread, f"{HI} what now?")
        await answers(discord, thread, 1)
    last = [f"Root: message {number}" for number in range(left_out + 1, messages + 1)]
    gap = [f"\n{after_a_gap(left_out)}:"] if left_out else []
    title = ["The title of this post:", "The cat", ""] if opened is post_in_a_forum else []
    earlier = ["Earlier in this thread:", "Grace: root", *gap, *last, "", "Ada: what now?"]
    assert asked(fake) == ["\n".join([*title, *earlier])]


# ── what is replied to ───────────────────────────────────────────────────────────────────────────────────────────────


def chain_of(discord: FakeDiscord, channel: int | str, texts: list[str]) -> int:
    """Messages of Grace's, each of which replies to the one before."""
    last: int | None = None
    for text in texts:
        last = discord.says("grace", channel, text, reply_to=last, told=False)
    assert last is not None
    return last


@pytest.mark.parametrize("length", [1, 2, 3, 10, 11, 15])
async def test_up_to_ten_replies_to_replies_are_told_the_oldest_first(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, length: int
) -> None:
    texts = [f"message {number}" for number in range(length)]
    last = chain_of(discord, "news", texts)
    async with bob(**reads_all(discord), discord_context_messages=0):
        await answer(discord, discord.says("ada", "news", f"{HI} why?", reply_to=last))
    before = texts[-MOST_REPLIES:-1]
    told = "".join([f"{WHAT_IT_REPLIED_TO}:\n", *(f"Grace: {text}\n" for text in before), "\n"]) if before else ""
    assert asked(fake) == [f"{told}{ABOUT}, from Grace:\n{texts[-1]}\n\nAda: why?"]
    assert len(discord.requests("GET", f"{HISTORY}/{{message}}")) == (min(length, MOST_REPLIES)) // 2


async def test_what_is_told_as_replied_to_is_not_told_as_overheard(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    last = chain_of(discord, "news", ["one", "two", "three"])
    discord.says("root", "news", "lunch?", told=False)
    async with bob(**reads_all(discord)):
        await answer(discord, discord.says("ada", "news", f"{HI} why?", reply_to=last))
    assert asked(fake) == [
        overheard("Root: lunch?")
        + f"{WHAT_IT_REPLIED_TO}:\nGrace: one\nGrace: two\n\n{ABOUT}, from Grace:\nthree\n\nAda: why?"
    ]


async def test_a_chain_of_replies_ends_where_a_message_is_gone(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    first = chain_of(discord, "news", ["one", "two"])
    third = discord.says("root", "news", "three", reply_to=first, told=False)
    last = discord.says("root", "news", "four", reply_to=third, told=False)
    discord.deletes(first)
    async with bob(**reads_all(discord), discord_context_messages=0):
        await answer(discord, discord.says("ada", "news", f"{HI} why?", reply_to=last))
    assert asked(fake) == [f"{WHAT_IT_REPLIED_TO}:\nRoot: three\n\n{ABOUT}, from Root:\nfour\n\nAda: why?"]


async def test_nothing_is_fetched_of_a_chain_without_the_content_intent(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    last = chain_of(discord, "news", ["one", "two"])
    async with bob():
        await answer(discord, discord.says("ada", "news", f"{HI} why?", reply_to=last))
    assert WHAT_IT_REPLIED_TO not in asked(fake)[0]
    assert discord.requests("GET", f"{HISTORY}/{{message}}") == []


async def test_what_was_said_in_private_is_left_out_of_a_chain_of_replies(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda asked: "Under the oak" if "treasure" in asked.question else "Nothing."
    async with bob(private_bob_password=PASSWORD, **reads_all(discord), discord_context_messages=0):
        private = discord.says("ada", "news", f"{HI} {PASSWORD} where is the treasure?")
        await answer(discord, private)
        await closed(sqlite_url)
        (shown,) = discord.reply_messages(private)
        doubt = discord.says("grace", "news", "really?", reply_to=shown.id)
        last = discord.says("root", "news", "who knows", reply_to=doubt)
        await answer(discord, discord.says("grace", "news", f"{HI} what is this about?", reply_to=last))
    assert f"{WHAT_IT_REPLIED_TO}:\n" in asked(fake)[-1]
    assert LEFT_OUT in asked(fake)[-1]
    assert "Grace: really?" in asked(fake)[-1]
    assert "oak" not in asked(fake)[-1]
