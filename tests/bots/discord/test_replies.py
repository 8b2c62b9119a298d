"""Replies: how an answer is shown on Discord, from its first words to its last."""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Callable, Iterator

import pytest

from bots.discord import reply as discord_reply
from bots.discord.words import LIMIT, MOST_PARTS, THE_REST_DOES_NOT_FIT, THE_REST_IS_IN_THE_FILE
from core.process import calm_garbage_collector
from tests.bots.conftest import check_pauses, closed, comes_true, held, lines, turns
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, answered, buttons, is_whole
from tests.fakes.discord_api import FakeDiscord, Interaction, Message
from tests.fakes.openai_api import FakeOpenAI, Reply

SHIPPED_SECONDS_BEFORE_THE_FIRST_WORDS = discord_reply.SECONDS_BEFORE_THE_FIRST_WORDS
SHIPPED_SECONDS_BETWEEN_EDITS = discord_reply.SECONDS_BETWEEN_EDITS
SHIPPED_SECONDS_OF_THEIR_WINDOW = discord_reply.SECONDS_OF_THEIR_WINDOW

PLACES = pytest.mark.parametrize("place", ["thread", "dm", "inline"])
POSTS, EDITS = "/channels/{channel}/messages", "/channels/{channel}/messages/{message}"
WORDS = ("First words. ", "Last words.")
WHOLE = "".join(WORDS)


def asks(discord: FakeDiscord, place: str, text: str = "hello", *, user: str = "ada") -> int:
    """Ada asks where answers open a thread, directly, or where they are replies."""
    channel: int | str = discord.dm(user) if place == "dm" else {"thread": "general", "inline": "news"}[place]
    return discord.says(user, channel, text if place == "dm" else f"{HI} {text}")


def says_slowly(fake: FakeOpenAI, text: str, *, size: int = 40, delay: float = 0.02) -> None:
    """Let every answer arrive in pieces of this size."""
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    fake.answer = lambda asked: Reply(pieces=pieces, delay=delay)


async def shown(discord: FakeDiscord, message: int, text: str) -> Message:
    """The message of Bob's in which this text can be read, as soon as that is so."""

    def found() -> list[Message]:
        return [each for each in discord.reply_messages(message) if text in each.text]

    await discord.until(lambda _: found(), SECONDS)
    return found()[-1]


async def commands(discord: FakeDiscord) -> None:
    """Come back once people can give commands."""
    await discord.until(lambda discord: discord.commands(), SECONDS)


async def command_answered(discord: FakeDiscord, interaction: Interaction, *, parts: int = 1) -> list[str]:
    """What is read in answer to a command, once that is whole."""

    def is_there() -> bool:
        return len(interaction.messages) >= parts and any(is_whole(each) for each in written(discord, interaction))

    await discord.until(lambda _: is_there(), SECONDS)
    return [message.text for message in written(discord, interaction)]


def written(discord: FakeDiscord, interaction: Interaction) -> list[Message]:
    """The messages of Bob's in answer to a command, and below it."""
    (first, *_) = interaction.messages
    if first.channel.guild is not None and not first.channel.guild.has_bot:
        return interaction.messages
    return [each for each in discord.messages(first.channel.id) if each.by_bot and each.id >= first.id]


def sent(discord: FakeDiscord, *routes: tuple[str, str]) -> list[float]:
    """When such requests were made that worked out."""
    return [call.at for call in discord.calls if (call.method, call.route) in routes and (call.status or 500) < 300]


# ── while it is written ──────────────────────────────────────────────────────────────────────────────────────────────


@PLACES
async def test_the_first_words_can_be_read_before_the_last_ones_are_written(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str
) -> None:
    let_go = held(fake, *WORDS)
    async with bob():
        message = asks(discord, place)
        first = await shown(discord, message, "First words.")
        assert discord.replies(message) == ["First words."]
        let_go()
        assert await answer(discord, message) == WHOLE
        assert discord.reply_messages(message) == [first]


async def test_the_first_words_of_a_commands_answer_can_be_read_before_the_last_ones_are_written(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    let_go = held(fake, *WORDS)
    async with bob():
        await commands(discord)
        asked = discord.slash("ada", "general", "ask", prompt="hello")
        await discord.until(lambda _: asked.text == "First words.", SECONDS)
        let_go()
        assert await command_answered(discord, asked) == [WHOLE]


@PLACES
async def test_an_answer_that_is_there_at_once_takes_one_message_and_no_edit(
    discord: FakeDiscord, bob: Start, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(discord_reply, "SECONDS_BEFORE_THE_FIRST_WORDS", SHIPPED_SECONDS_BEFORE_THE_FIRST_WORDS)
    async with bob():
        await answer(discord, asks(discord, place))
    assert len(discord.requests("POST", POSTS)) == 1
    assert discord.requests("PATCH", EDITS) == []


async def test_what_is_new_is_shown_in_time_and_not_more_often_than_it_should_be(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = 0.25
    monkeypatch.setattr(discord_reply, "SECONDS_BETWEEN_EDITS", seconds)
    text = " ".join(f"word{n}" for n in range(100))
    says_slowly(fake, text, size=20, delay=0.04)
    async with bob():
        assert await answer(discord, asks(discord, "dm")) == text
    at = sent(discord, ("POST", POSTS), ("PATCH", EDITS))[:-1]
    check_pauses(at, seconds)
    assert SHIPPED_SECONDS_BETWEEN_EDITS >= SHIPPED_SECONDS_OF_THEIR_WINDOW / 5


async def test_an_edit_that_takes_long_is_followed_by_the_newest_words_and_not_by_all_between(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    text = " ".join(f"word{n}" for n in range(60))
    says_slowly(fake, text, size=20, delay=0.03)
    discord.fail("PATCH", "/channels/*/messages/*", delay=0.4)
    async with bob():
        message = asks(discord, "dm")
        assert await answer(discord, message) == text
        (only,) = discord.reply_messages(message)
    versions = discord.versions(only.id)
    assert all(text.startswith(version) for version in versions)
    assert [len(version) for version in versions] == sorted(len(version) for version in versions)
    assert max(len(later) - len(earlier) for earlier, later in itertools.pairwise(versions)) >= 5 * 20


# ── long answers ─────────────────────────────────────────────────────────────────────────────────────────────────────


@PLACES
async def test_a_long_answer_comes_whole_and_in_order_where_it_was_asked(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str
) -> None:
    said = lines(140)
    says_slowly(fake, "\n".join(said), size=400, delay=0.01)
    async with bob():
        message = asks(discord, place)
        parts = await answered(discord, message, parts=4)
    assert "\n".join(parts).splitlines() == said
    assert all(len(part) <= LIMIT for part in parts)
    written = discord.reply_messages(message)
    assert len({each.channel.id for each in written}) == 1
    assert [each.refers_to is not None for each in written] == [place == "inline"] * len(parts)
    assert [each.id for each in written] == sorted(each.id for each in written)


async def test_a_long_answer_to_a_command_goes_on_below_it(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    said = lines(140)
    says_slowly(fake, "\n".join(said), size=400, delay=0.01)
    async with bob():
        await commands(discord)
        asked = discord.slash("ada", "general", "ask", prompt="hello")
        parts = await command_answered(discord, asked)
    assert "\n".join(parts).splitlines() == said
    assert len(parts) == 4


async def test_where_bob_is_not_himself_an_answer_is_one_message_and_the_rest_in_a_file(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    text = "\n".join(lines(140))
    says_slowly(fake, text, size=400, delay=0.01)
    async with bob():
        await commands(discord)
        asked = discord.slash("zoe", "elsewhere", "ask", prompt="hello")
        (only,) = await command_answered(discord, asked)
    assert only.endswith(THE_REST_IS_IN_THE_FILE)
    assert [(file.name, file.content.decode()) for file in asked.messages[0].files] == [("answer.md", text)]


@pytest.mark.parametrize(("number", "files"), [(290, []), (400, ["answer.md"])], ids=["eight", "more"])
async def test_an_answer_of_many_messages_is_a_file_as_well(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, number: int, files: list[str]
) -> None:
    text = "\n".join(lines(number))
    fake.answer = lambda _: Reply(pieces=[text])
    async with bob():
        message = asks(discord, "thread")
        parts = await answered(discord, message, parts=8)
    assert (len(parts) > 8) is bool(files)
    assert "\n".join(parts) == text
    found = [file for each in discord.reply_messages(message) for file in each.files]
    assert [file.name for file in found] == files
    assert [file.content.decode() for file in found] == [text] * len(files)


@pytest.mark.parametrize("place", ["news", "general"])
@pytest.mark.parametrize(("number", "fits"), [(400, True), (1_000, False)], ids=["whole", "too long"])
async def test_where_no_file_may_be_attached_all_messages_are_shown_without_one(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str, number: int, fits: bool
) -> None:
    text = "\n".join(lines(number))
    fake.answer = lambda _: Reply(pieces=[text])
    discord.forbids(place, "attach_files")
    async with bob():
        parts = await answered(discord, discord.says("ada", place, f"{HI} hello"), parts=8)
        await closed(sqlite_url)
    said = "\n".join(parts)
    assert said == text if fits else (len(parts) == MOST_PARTS and said.endswith(THE_REST_DOES_NOT_FIT))


async def test_messages_that_an_edited_question_needs_no_more_are_removed(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    held(fake, "\n".join(lines(140)), "The end.")
    async with bob():
        message = asks(discord, "thread")
        await discord.until(lambda discord: len(discord.reply_messages(message)) == 4, SECONDS)
        first = discord.reply_messages(message)[0]
        await comes_true(lambda: len(_posted(sqlite_url)) >= 1)
        held(fake, *WORDS)()
        discord.edits(message, f"{HI} shorter!")
        await discord.until(lambda discord: discord.replies(message) == [WHOLE], SECONDS)
        assert discord.reply_messages(message) == [first]
        await closed(sqlite_url)


def _posted(database_url: str) -> str:
    return str(turns(database_url)[0]["posted"] or "")


# ── buttons ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@PLACES
async def test_a_growing_answer_can_be_stopped_where_it_grows_and_a_whole_one_be_rated_where_it_ends(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str
) -> None:
    let_go = held(fake, "\n".join(lines(100)), "\nThe end.")
    async with bob():
        message = asks(discord, place)
        await shown(discord, message, lines(100)[-1])

        def kinds() -> list[set[str]]:
            return [{name.partition(":")[0] for name in buttons(each)} for each in discord.reply_messages(message)]

        await discord.until(lambda _: kinds() == [set(), set(), {"stop"}], SECONDS)
        let_go()
        await answered(discord, message, parts=3)
        await discord.until(lambda _: kinds() == [set(), set(), {"good", "bad"}], SECONDS)


async def test_a_stop_ends_an_answer_to_a_command_as_well(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    held(fake, *WORDS)
    async with bob():
        await commands(discord)
        asked = discord.slash("ada", "general", "ask", prompt="hello")
        await discord.until(lambda _: asked.text == "First words.", SECONDS)
        (stop,) = buttons(asked.messages[0])
        await discord.clicks("ada", asked.messages[0].id, stop)
        assert await command_answered(discord, asked) == ["First words. \n\n_Stopped._"]


# ── whom it calls, and what else it does not do ──────────────────────────────────────────────────────────────────────


def calls_for_everybody(discord: FakeDiscord) -> str:
    role = next(role.id for role in discord.guild("alpha").roles.values() if role.name == "engineers")
    ada, grace = discord.user("ada").id, discord.user("grace").id
    return f"@everyone and @here, <@&{role}>, <@{ada}> and <@!{grace}>! "


@PLACES
async def test_nobody_is_called_by_what_a_model_says_in_a_post_or_an_edit(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str
) -> None:
    discord.add_role("alpha", "all", ["ada", "grace"], mentionable=True)
    for channel in ("general", "news"):
        discord.allows(channel, "mention_everyone")
    text = calls_for_everybody(discord)
    let_go = held(fake, text, text)
    async with bob():
        message = asks(discord, place, "@everyone?")
        await shown(discord, message, "@everyone and @here")
        let_go()
        assert (await answer(discord, message)).count("@everyone") == 2
    assert [ping for ping in discord.pings if discord.message(ping.message).by_bot] == []


async def test_nobody_is_called_by_a_commands_answer(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    discord.allows("general", "mention_everyone")
    text = calls_for_everybody(discord)
    let_go = held(fake, text, text + "\n".join(lines(100)))
    async with bob():
        await commands(discord)
        asked = discord.slash("ada", "general", "ask", prompt="@everyone")
        await discord.until(lambda _: "@everyone" in asked.text, SECONDS)
        let_go()
        assert len(await command_answered(discord, asked)) == 3
    assert discord.pings == []


async def test_nobody_is_called_by_a_thread_that_is_named_after_a_question(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: "Hello."
    discord.allows("general", "mention_everyone")
    async with bob():
        message = asks(discord, "thread", f"{calls_for_everybody(discord)} hello?")
        await answer(discord, message)
    assert [ping for ping in discord.pings if ping.message != message] == []


async def test_no_link_in_what_bob_posts_unfolds(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    fake.answer = lambda _: Reply(pieces=["See https://example.org/track?you", "\n" + "\n".join(lines(100))])
    async with bob():
        message = asks(discord, "thread")
        await answered(discord, message, parts=3)
    suppresses_embeds = 1 << 2
    assert all(each.flags & suppresses_embeds for each in discord.reply_messages(message))


# ── the sign that Bob is at work ─────────────────────────────────────────────────────────────────────────────────────


def times_typed(discord: FakeDiscord) -> int:
    return len(discord.requests("POST", "/channels/{channel}/typing"))


@PLACES
async def test_typing_is_shown_until_there_are_words_and_is_kept_up_till_then(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setattr(discord_reply, "SECONDS_OF_TYPING", 0.05)
    gate = fake.gate()
    fake.answer = lambda _: Reply(pieces=[*WORDS], gate=gate, gate_after=0)
    async with bob():
        message = asks(discord, place)
        channel = discord.message(message).channel.id
        await discord.until(lambda discord: discord.is_typing(channel) and times_typed(discord) >= 3, SECONDS)
        gate.open()
        await answer(discord, message)
        if place != "thread":  # there it was seen beside, and fades away
            assert not discord.is_typing(channel)
        typed = times_typed(discord)
        await commands(discord)
        monkeypatch.setattr(discord_reply, "SECONDS_OF_TYPING", SECONDS)
        await answer(discord, discord.says("grace", discord.dm("grace"), "and?"))
        assert times_typed(discord) <= typed + 1


async def test_typing_that_discord_refuses_holds_up_no_answer(discord: FakeDiscord, bob: Start) -> None:
    discord.fail("POST", "/channels/*/typing", 403, code=50013, times=None)
    async with bob():
        assert await answer(discord, asks(discord, "dm")) == "You asked: hello."


@pytest.mark.parametrize("broken", ["slow", "503"])
async def test_typing_that_takes_long_holds_up_no_answer(discord: FakeDiscord, bob: Start, broken: str) -> None:
    if broken == "slow":
        discord.fail("POST", "/channels/*/typing", delay=30.0, times=None)
    else:
        discord.fail("POST", "/channels/*/typing", 503, times=None)
    async with bob():
        message = asks(discord, "dm")
        await discord.until(lambda discord: discord.replies(message) == ["You asked: hello."], 5.0)


# ── answers that do not come ─────────────────────────────────────────────────────────────────────────────────────────


@PLACES
async def test_a_failure_is_one_sentence_with_a_reference_below_what_was_shown(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str
) -> None:
    fake.answer = lambda asked: Reply(pieces=["Half an", 0.3, " answer"], failed="invalid_prompt", message="x-secret")
    async with bob():
        message = asks(discord, place)
        words, _, sentence = (await answer(discord, message)).partition("\n\n")
        await closed(sqlite_url, "failed")
    assert words == "Half an answer"
    assert sentence.startswith("Sorry")
    assert "(Reference" in sentence
    assert "\n" not in sentence
    assert "x-secret" not in sentence


async def test_an_answer_that_breaks_off_is_begun_anew_in_the_same_message(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    answers = iter([Reply(pieces=["Old words.", 0.3], failed="server_error"), Reply(text="New words.")])
    fake.answer = lambda asked: next(answers)
    async with bob():
        message = asks(discord, "dm")
        old = await shown(discord, message, "Old words.")
        assert await answer(discord, message) == "New words."
        assert discord.reply_messages(message) == [old]


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _seconds_for(discord: FakeDiscord, *people: str) -> float:
    """How long it takes until these people have whole answers in one channel."""
    began = time.monotonic()
    said = [asks(discord, "inline", user=person) for person in people]
    for message in said:
        await answered(discord, message)
    return time.monotonic() - began


async def test_three_answers_in_one_channel_are_ready_when_one_would_be_and_discord_refuses_no_call(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = 0.1
    monkeypatch.setattr(discord_reply, "SECONDS_OF_THEIR_WINDOW", SHIPPED_SECONDS_OF_THEIR_WINDOW * scale)
    monkeypatch.setattr(discord_reply, "SECONDS_BETWEEN_EDITS", SHIPPED_SECONDS_BETWEEN_EDITS * scale)
    monkeypatch.setattr(discord_reply, "SECONDS_BEFORE_THE_FIRST_WORDS", SHIPPED_SECONDS_BEFORE_THE_FIRST_WORDS * scale)
    discord.enforce_limits(scale)
    text = "\n".join(lines(30))
    says_slowly(fake, text, size=50, delay=0.04)
    async with bob():
        alone = await _seconds_for(discord, "ada")
        together = await _seconds_for(discord, "ada", "grace", "root")
    assert together < alone + SHIPPED_SECONDS_OF_THEIR_WINDOW * scale
    assert discord.rate_limited == 0
    everything = [each for each in discord.messages("news") if each.by_bot]
    assert [each.text for each in everything] == [text] * 4
    assert all(len(each.versions) >= 2 for each in everything), "none of them waits for the others"


async def test_ten_answers_in_one_channel_come_whole_within_the_rates_of_discord(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    scale = 0.1
    monkeypatch.setattr(discord_reply, "SECONDS_OF_THEIR_WINDOW", SHIPPED_SECONDS_OF_THEIR_WINDOW * scale)
    monkeypatch.setattr(discord_reply, "SECONDS_BETWEEN_EDITS", SHIPPED_SECONDS_BETWEEN_EDITS * scale)
    discord.enforce_limits(scale)
    text = "\n".join(lines(30))
    says_slowly(fake, text, size=100, delay=0.04)
    people = [f"person{n}" for n in range(10)]
    for person in people:
        discord.add_user(person, guilds=["alpha"])
    async with bob():
        said = [asks(discord, "inline", user=person) for person in people]
        for message in said:
            assert await answer(discord, message) == text
    assert discord.rate_limited <= 1
    assert discord.impatience == []


class Lag:
    """Measures how long others keep the event loop busy: in processor time, since the fakes share the processor."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def measure(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.thread_time() - before)


@pytest.fixture
def calm() -> Iterator[None]:
    """Collect garbage as a process of Bob's does: what the tests imported is no load of his."""
    before = gc.get_threshold()
    calm_garbage_collector()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("calm")
async def test_fifty_answers_at_once_hold_up_the_event_loop_for_less_than_a_fifth_of_a_second(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discord_reply, "SECONDS_BETWEEN_EDITS", 0.25)
    text = "\n".join(lines(60))
    says_slowly(fake, text, size=200, delay=0.05)
    channels = [discord.add_channel("alpha", f"room{n}") for n in range(25)]
    people = [discord.add_user(f"person{n}", guilds=["alpha"]) for n in range(25)]
    lag = Lag()
    async with bob():
        measuring = asyncio.create_task(lag.measure())
        said = [discord.says("ada", channel, f"{HI} hello") for channel in channels]
        said += [discord.says(person, discord.dm(person), "hello") for person in people]
        for message in said:
            assert "\n".join(await answered(discord, message, parts=2)) == text
        measuring.cancel()
    assert 0.0 < lag.longest < 0.2


# ── what is said below an answer ─────────────────────────────────────────────────────────────────────────────────────

CODE = "Here it is:\n\n```python\nprint(1)\n"


@PLACES
async def test_an_answer_that_is_stopped_in_the_middle_of_code_says_so_below_the_code(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, place: str
) -> None:
    held(fake, CODE, "print(2)\n")
    async with bob() as running:
        message = asks(discord, place)
        await shown(discord, message, "print(1)")
        await running.chat.stop(str(turns(sqlite_url)[0]["id"]))
        assert await answer(discord, message) == f"{CODE}```\n\n_Stopped._"


async def test_an_answer_that_is_cut_off_in_the_middle_of_code_says_so_below_the_code(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: Reply(pieces=[CODE], incomplete="max_output_tokens")
    async with bob():
        text = await answer(discord, asks(discord, "dm"))
    assert text.startswith(f"{CODE}```\n\n*(The answer was cut off here")


async def test_that_the_rest_of_an_answer_is_in_the_file_is_said_below_the_code_that_it_ends_in(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = lambda asked: Reply(pieces=["```python\n" + "print(1)  # and a comment\n" * 2_000])
    async with bob():
        texts = await answered(discord, asks(discord, "dm"), parts=MOST_PARTS)
    assert texts[-1].endswith(f"\n```\n\n{THE_REST_IS_IN_THE_FILE}")


async def test_an_edit_that_waits_for_a_connection_is_not_sent_once_the_lease_is_lost(
    discord: FakeDiscord,
    fake: FakeOpenAI,
    bob: Start,
    sqlite_url: str,
    lose_the_lease: Callable[[], Callable[[], bool]],
) -> None:
    let_go = held(fake, *WORDS)
    async with bob() as running:
        message = asks(discord, "dm")
        await shown(discord, message, WORDS[0].strip())
        login = running.bot.api.login
        client = await login.client()
        login.use(None)
        let_go()
        await comes_true(lambda: login._is_there._waiters)
        is_noticed = lose_the_lease()
        login.use(client)
        await closed(sqlite_url)
        assert is_noticed()
        assert [each.text for each in discord.reply_messages(message)] == [WHOLE]
