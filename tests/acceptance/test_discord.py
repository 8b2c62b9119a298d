"""Discord with the shipped commands as processes: what people say, and what they read then, whoever is killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import aiohttp
import pytest

from tests.acceptance.processes import Nursery, Served, ask, executed
from tests.bots.conftest import closed, turns
from tests.bots.discord.conftest import HI, is_whole
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord, Interaction
from tests.fakes.openai_api import Asked, FakeOpenAI, Reply

Environment = Callable[..., dict[str, str]]

pytestmark = pytest.mark.one_in(2)  # of two ways to be served

SECONDS = 120.0  # on a busy machine
ALONE = "bots.discord"
PASSWORD = "pomegranate-at-noon"
PRIVATE = "🔒 _Private-Bob_\n\n"  # above each of his answers
HALVES = ("First words. ", "Last words.")
WORDS = [f"word{n} " for n in range(60)]


class Start(Protocol):
    """Starts Bob in Discord, for as long as the block lasts. `settings` are those of the environment."""

    def __call__(self, **settings: str) -> AbstractAsyncContextManager[Served]: ...


@pytest.fixture
def discord() -> Iterator[FakeDiscord]:
    """A Discord. Nothing here may break its rules, whatever else a test is about."""
    with FakeDiscord() as running:
        running.interaction_seconds = 6.0  # Discord's are 3, with more than a third of a processor for Bob
        yield running
        assert running.violations == []
        assert running.impatience == []


@pytest.fixture
def settings(environment: Environment, discord: FakeDiscord, tmp_path: Path) -> dict[str, str]:
    """The settings of a process in this Discord, with this OpenAI."""
    return environment(
        DISCORD_TOKEN=discord.token, DISCORD_API_URL=discord.url, PRIVATE_BOB_PASSWORD=PASSWORD, PORT="0",
        TMPDIR=str(tmp_path), DISCORD_JOIN_SECONDS="0",
    )  # fmt: skip


@pytest.fixture(params=["", ALONE], ids=["bob run", "alone"])
def bot(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def bob(discord: FakeDiscord, settings: dict[str, str], bot: str, tmp_path: Path) -> Start:
    """Bob in this Discord. In the end he leaves nothing undone, nothing said that is secret, and exits with 0."""

    @contextlib.asynccontextmanager
    async def start(**more: str) -> AsyncIterator[Served]:
        async with Nursery(tmp_path) as nursery:
            running = Served(nursery, {**settings, **more}, bot)
            await running.start()
            yield running
            await running.end()
        assert [turn for turn in turns(settings["DATABASE_URL"]) if not turn["closed_at"]] == []
        judge_logs(running.said, discord)

    return start


def judge_logs(said: str, discord: FakeDiscord) -> None:
    """No secret was logged, and nothing that went wrong for a reason of ours."""
    assert " ERROR " not in said, said
    assert "Traceback" not in said, said
    for secret in (PASSWORD, discord.token, *(interaction.token for interaction in discord.interactions)):
        assert secret not in said


async def answers(discord: FakeDiscord, *messages: int) -> list[str]:
    """What Bob wrote to each message, in one message of his own, once all of that is whole."""
    await discord.until(
        lambda discord: all(any(map(is_whole, discord.reply_messages(message))) for message in messages), SECONDS
    )
    found = [discord.replies(message) for message in messages]
    assert [len(texts) for texts in found] == [1] * len(messages), found
    return [text for (text,) in found]


async def answer(discord: FakeDiscord, message: int) -> str:
    (text,) = await answers(discord, message)
    return text


async def read(discord: FakeDiscord, interaction: Interaction) -> str:
    """What a person reads once a command is answered, in one message."""
    await discord.until(lambda _: interaction.failure or any(map(is_whole, interaction.messages)), SECONDS)
    assert interaction.failure is None
    (message,) = interaction.messages
    return message.text


async def thread_of(discord: FakeDiscord, message: int) -> int:
    """The thread that Bob opened on a message."""
    await discord.until(lambda discord: discord.thread_of(message), SECONDS)
    thread = discord.thread_of(message)
    assert thread is not None
    return thread.id


def held(fake: FakeOpenAI) -> Callable[[], None]:
    """Let every answer stand still after its first words, until the returned function is called."""
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=HALVES, gate=gate)
    return gate.open


# ── who is answered, where, and how often ────────────────────────────────────────────────────────────────────────────


async def test_a_mention_opens_a_thread_in_which_the_conversation_goes_on(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        first = discord.says("ada", "general", f"{HI} one")
        assert await answer(discord, first) == "You asked: Ada: one."
        thread = await thread_of(discord, first)
        assert [message.channel.id for message in discord.reply_messages(first)] == [thread]
        second = discord.says("grace", thread, f"{HI} two")
        assert await answer(discord, second) == "You asked: Grace: two. Before that you asked: Ada: one."


async def test_in_a_thread_of_bobs_nobody_needs_to_mention_him_where_he_may_read_all(
    discord: FakeDiscord, bob: Start
) -> None:
    discord.message_content_allowed = True
    async with bob(DISCORD_MESSAGE_CONTENT="true"):
        first = discord.says("ada", "general", f"{HI} one")
        await answer(discord, first)
        second = discord.says("grace", await thread_of(discord, first), "two")
        assert await answer(discord, second) == "You asked: Grace: two. Before that you asked: Ada: one."


async def test_direct_messages_and_commands_are_answered_in_their_place(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        direct = discord.says("ada", "dm", "one")
        assert await answer(discord, direct) == "You asked: one."
        assert await answer(discord, discord.says("ada", "dm", "two")) == "You asked: two. Before that you asked: one."
        assert await read(discord, discord.slash("ada", "dm", "ask", prompt="three")) == (
            "You asked: three. Before that you asked: one | two."
        )
        assert await read(discord, discord.slash("ada", "general", "ask", prompt="four")) == "You asked: Ada: four."


async def test_hidden_channels_end_nothing_and_what_is_forwarded_is_read(discord: FakeDiscord, bob: Start) -> None:
    discord.hides = "null"
    for kind in ("voice", "forum"):
        discord.add_channel("alpha", f"secret {kind}", kind)
        discord.forbids(f"secret {kind}", "view_channel")
    alert = discord.says("otherbot", "general", "", embeds=[{"type": "rich", "title": "CPU is hot"}])
    async with bob():
        shown = await answer(discord, discord.forwards("ada", "dm", alert))
    assert shown == "You asked: The message that this is about:\nCPU is hot\n\n(no words)."


async def test_what_was_said_while_nobody_ran_is_answered_afterwards_once(discord: FakeDiscord, bob: Start) -> None:
    async with bob() as running:
        known = discord.says("ada", "dm", "Q1-a")
        thread = await thread_of(discord, discord.says("ada", "general", f"{HI} Q2-b"))
        await answer(discord, known)
        await running.end()
        missed = [
            discord.says("grace", "general", f"{HI} Q3-c"),
            discord.says("grace", "lobby", f"{HI} Q4-d"),
            discord.says("ada", "dm", "Q5-e"),
            discord.says("ada", thread, f"{HI} Q6-f"),
        ]
        await running.start()
        said = await answers(discord, *missed)
        assert [text.partition(". ")[0].rstrip(".") for text in said] == [
            "You asked: Grace: Q3-c", "You asked: Grace: Q4-d", "You asked: Q5-e", "You asked: Ada: Q6-f",
        ]  # fmt: skip
        await running.end()
        await running.start()
        latest = discord.says("ada", "dm", "Q7-g")
        assert (await answer(discord, latest)).startswith("You asked: Q7-g.")
        assert await answers(discord, *missed) == said


async def test_two_processes_on_one_database_give_one_answer(discord: FakeDiscord, bob: Start) -> None:
    async with bob() as running:
        await running.start()
        await discord.until(lambda discord: discord.connections == 2, SECONDS)
        commands = [discord.slash("ada", "help", "ask", prompt=f"Q{n}-a") for n in range(3)]
        messages = [discord.says("ada", place, f"{HI} Q{n}-b") for n, place in enumerate(("general", "lobby", "dm"))]
        said = await answers(discord, *messages)
        assert [text.partition(". ")[0].rstrip(".") for text in said] == [
            "You asked: Ada: Q0-b", "You asked: Ada: Q1-b", "You asked: Q2-b",
        ]  # fmt: skip
        for n, command in enumerate(commands):
            assert (await read(discord, command)).startswith(f"You asked: Ada: Q{n}-a.")
        running.processes[0].signal(signal.SIGTERM)
        assert await running.processes[0].over() == 0


# ── how a process begins ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "sentence", "most_calls"),
    [
        ({"DISCORD_TOKEN": "wrong-token"}, "Discord refuses DISCORD_TOKEN.", 1),
        ({"DISCORD_MESSAGE_CONTENT": "true"}, "Switch on Message Content Intent", 2),
        ({"OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}, "DISCORD_TOKEN is set and no language model", 0),
        ({"DISCORD_CHANNELS": "general"}, "must list ids", 0),
    ],
    ids=["wrong token", "content not switched on", "no model", "no ids"],
)
async def test_bob_says_in_one_sentence_why_discord_cannot_be_served_and_does_not_try_again(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path, bot: str, changes: dict[str, str], sentence: str,
    most_calls: int,
) -> None:  # fmt: skip
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start({**settings, **changes}, bot=bot)
        assert await process.over() == 2
    assert len([line for line in process.lines if sentence in line]) == 1
    assert process.lines[-1].startswith("Bob cannot start. ")
    assert sentence in process.lines[-1]
    assert "Traceback" not in process.text
    assert "wrong-token" not in process.text
    assert len(discord.calls) <= most_calls
    assert discord.sessions == []


async def test_the_bot_alone_needs_a_token(environment: Environment, tmp_path: Path) -> None:
    async with executed(environment(), tmp_path, sys.executable, "-m", ALONE) as process:
        assert await process.over() == 2
    assert process.lines[-1] == "Bob cannot start. Discord's bot needs DISCORD_TOKEN."


@pytest.mark.parametrize(
    ("may_read_all", "sentence"),
    [(False, "reads mentions, replies and DMs only"), (True, "reads all messages")],
    ids=["mentions only", "all"],
)
async def test_a_process_says_what_it_reads_and_how_to_invite_it(
    discord: FakeDiscord, bob: Start, may_read_all: bool, sentence: str
) -> None:
    discord.message_content_allowed = may_read_all
    async with bob(DISCORD_MESSAGE_CONTENT=str(may_read_all).lower()) as running:
        await running.process.says(sentence)
        await running.process.says(f"client_id={discord.application_id}")


async def test_bob_starts_while_discord_cannot_be_reached_and_answers_once_it_can(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    """And in the meantime he serves the web."""
    discord.stop()
    async with Nursery(tmp_path) as nursery, aiohttp.ClientSession() as http:
        process = await nursery.start(settings)
        await process.says("Discord does not answer at")
        assert await ask(http, await process.served(), "Q1-a") == "You asked: Q1-a."
        message = discord.says("ada", "general", f"{HI} Q2-b")
        discord.start()
        assert await answer(discord, message) == "You asked: Ada: Q2-b."
        process.signal(signal.SIGTERM)
        assert await process.over() == 0


async def test_without_a_token_there_is_nothing_of_discord(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start({**settings, "DISCORD_TOKEN": ""})
        await process.served()
        assert "Discord" not in process.text
    assert discord.calls == []


async def test_a_token_that_is_taken_back_ends_the_bot_alone_and_not_the_web(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path, bot: str
) -> None:
    async with Nursery(tmp_path) as nursery, aiohttp.ClientSession() as http:
        process = await nursery.start(settings, bot=bot)
        url = await process.served()
        await discord.until(lambda discord: discord.connections, SECONDS)
        before, discord.token = discord.token, "a-new-token"
        discord.close_connections(4004)
        if bot:
            assert await process.over() == 2
            assert process.lines[-1] == "Bob cannot go on. Discord refuses DISCORD_TOKEN."
        else:
            await process.says("Discord refuses DISCORD_TOKEN. Discord is served no more.")
            assert await ask(http, url, "Q1-a") == "You asked: Q1-a."
        assert "Traceback" not in process.text
        assert before not in process.text


async def test_a_bot_alone_whose_intent_is_taken_away_says_so_and_ends(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    async with executed(settings, tmp_path, sys.executable, "-m", ALONE) as process:
        await process.served()
        discord.close_connections(4014)
        assert await process.over() == 2
        assert process.lines[-1].startswith("Bob cannot go on.")
        assert "Traceback" not in process.text


# ── how a process ends ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_at_a_signal_an_answer_is_written_to_its_end_first(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    go_on = held(fake)
    async with bob() as running:
        message = discord.says("ada", "general", f"{HI} one")
        await discord.until(lambda discord: "First words." in "".join(discord.replies(message)), SECONDS)
        running.process.signal(signal.SIGTERM)
        go_on()
        assert await running.process.over() == 0
        assert discord.replies(message) == ["".join(HALVES)]
        await running.start()


async def test_what_is_not_written_when_the_time_to_end_is_over_the_next_process_writes(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, settings: dict[str, str]
) -> None:
    held(fake)
    async with bob(DRAIN_SECONDS="0") as running:
        message = discord.says("ada", "dm", "one")
        await discord.until(lambda discord: "First words." in "".join(discord.replies(message)), SECONDS)
        await running.end()
        fake.answer = lambda asked: "".join(HALVES)
        await running.start()
        assert await answer(discord, message) == "".join(HALVES)
        await closed(settings["DATABASE_URL"])  # or the end, which waits for nothing here, leaves that to the next


async def test_a_signal_ends_a_process_that_waits_for_discord(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path, bot: str
) -> None:
    """Though there is nobody who answers yet."""
    discord.stop()
    async with Nursery(tmp_path) as nursery:
        process = await nursery.start(settings, bot=bot)
        await process.says("Discord does not answer at")
        await process.says("the connection to Discord ended")
        process.signal(signal.SIGTERM)
        assert await process.over() in (0, -signal.SIGTERM)
        assert "Traceback" not in process.text


# ── what is not said ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_no_secret_is_printed_whatever_goes_wrong_and_however_much_is_logged(
    discord: FakeDiscord, settings: dict[str, str], tmp_path: Path
) -> None:
    command = ("sh", "-c", 'exec "$0" "$@" >&2', sys.executable, "-m", ALONE)  # so that we read what it prints as well
    async with executed({**settings, "LOG_LEVEL": "debug"}, tmp_path, *command) as process:
        await process.served()
        discord.fail("POST", "/channels/*/messages", 500, times=2)
        discord.fail("POST", "/channels/*/messages", drop=True, after=True)
        discord.fail("PATCH", "/webhooks/**", drop=True)
        asked = discord.slash("ada", "help", "ask", prompt="one")
        message = discord.says("ada", "general", f"{HI} two")
        assert await read(discord, asked) == "You asked: Ada: one."
        assert await answer(discord, message) == "You asked: Ada: two."
        discord.invalidate()
        await discord.until(lambda discord: len(discord.sessions) == 2, SECONDS)
        assert await answer(discord, discord.says("ada", "dm", f"{PASSWORD} three")) == f"{PRIVATE}You asked: three."
        process.signal(signal.SIGTERM)
        assert await process.over() == 0
    judge_logs(process.text, discord)


# ── killed ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def slowly(asked: Asked) -> Reply:
    """An answer of a second and a half, in words."""
    return Reply(pieces=[f"To {asked.question}: ", *WORDS], delay=0.025)


@pytest.mark.parametrize("place", ["general", "dm"])
async def test_an_answer_that_is_cut_off_by_kill_9_is_made_whole_in_the_same_message(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, place: str
) -> None:
    fake.answer = slowly
    async with bob() as running:
        message = discord.says("ada", place, f"{HI} one")
        await discord.until(lambda discord: "word1 " in "".join(discord.replies(message)), SECONDS)
        (before,) = discord.reply_messages(message)
        await running.process.kill()
        await running.start()
        asked = "one" if place == "dm" else "Ada: one"
        assert await answer(discord, message) == f"To {asked}: {''.join(WORDS)}".rstrip()
        assert [each.id for each in discord.reply_messages(message)] == [before.id]


async def test_a_command_that_was_cut_off_by_kill_9_is_answered_where_it_was_given(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    fake.answer = slowly
    async with bob() as running:
        command = discord.slash("ada", "general", "ask", prompt="one")
        await discord.until(lambda _: "word1 " in command.text, SECONDS)
        await running.process.kill()
        await running.start()
        assert await read(discord, command) == f"To Ada: one: {''.join(WORDS)}".rstrip()


async def test_another_process_takes_over_what_a_killed_one_left(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    go_on = held(fake)
    async with bob() as running:
        message = discord.says("ada", "general", f"{HI} one")
        await discord.until(lambda discord: discord.replies(message), SECONDS)
        await running.start()
        await running.processes[0].kill()
        go_on()
        assert await answer(discord, message) == "".join(HALVES)


# ── the storm ────────────────────────────────────────────────────────────────────────────────────────────────────────

PEOPLE = ("ada", "grace", "root", "zoe")
PARAGRAPHS = 3


def long_answer(question: str) -> str:
    """An answer of several messages."""
    about = question.rpartition(": ")[2]
    return "\n\n".join(f"Part {n} on {about}. " + f"{about} " * (1500 // len(about)) for n in range(PARAGRAPHS))


def long_reply(asked: Asked) -> Reply:
    text = long_answer(asked.question)
    return Reply(pieces=[text[at : at + 400] for at in range(0, len(text), 400)], delay=0.03)


@pytest.mark.thorough
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("bot", [ALONE], ids=["alone"])
async def test_each_direct_message_gets_one_whole_long_answer_in_order_while_processes_are_killed(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, settings: dict[str, str], processes: int
) -> None:
    seed = int(os.environ.get("BOB_STORM_SEED", random.randrange(2**32)))
    print(f"\nseed {seed}")
    rng = random.Random(seed)
    fake.answer = long_reply
    asked: dict[str, list[str]] = {}
    commands: list[tuple[str, Interaction]] = []
    async with bob() as running:
        alive = [running.process, *[await running.start() for _ in range(processes - 1)]]
        for person in PEOPLE[:3]:
            asked[person] = [f"Q0-{person}"]
            discord.says(person, "dm", f"Q0-{person}")
        await discord.until(lambda _: all(_is_all_said(discord, each, asked[each]) for each in asked), SECONDS)
        for kill in range(8):
            for n in range(2):
                person = rng.choice(list(asked))
                discord.says(person, "dm", f"Q{kill}{n}-{person}")
                asked[person].append(f"Q{kill}{n}-{person}")
                await asyncio.sleep(rng.uniform(0, 0.3))
            commands.append((f"Q{kill}-cmd", discord.slash("ada", "help", "ask", prompt=f"Q{kill}-cmd")))
            if rng.random() < 0.3:
                discord.cut()
            at = rng.randrange(processes)
            await alive[at].kill()
            alive[at] = await running.begin()
            if rng.random() < 0.7:
                await alive[at].served()
        await discord.until(lambda _: all(_is_all_said(discord, each, asked[each]) for each in asked), SECONDS)
        await closed(settings["DATABASE_URL"])
        for process in alive:
            await process.served()
            if process is not running.process:
                process.signal(signal.SIGTERM)
                assert await process.over() == 0
    for person, questions in asked.items():
        assert _words_to(discord, person) == [word for each in questions for word in long_answer(each).split()]
    accepted = {turn["question"]: turn for turn in rows(settings["DATABASE_URL"], "SELECT question, posted FROM turn")}
    for question, command in commands:
        if question in accepted:  # else nobody was there to hear it, and Discord does not say it again
            shown = {str(each.id): each.text for each in (*command.messages, *discord.messages("help"))}
            parts = [shown[part["id"]] for part in json.loads(accepted[question]["posted"])]
            assert " ".join(parts).split() == long_answer(question).split()


def _words_to(discord: FakeDiscord, person: str) -> list[str]:
    by_bob = [message for message in discord.messages(discord.dm(person)) if message.by_bot]
    return " ".join(message.text for message in by_bob).split()


def _is_all_said(discord: FakeDiscord, person: str, questions: list[str]) -> bool:
    words = set(_words_to(discord, person))
    by_bob = [message for message in discord.messages(discord.dm(person)) if message.by_bot]
    return words >= set(questions) and sum(map(is_whole, by_bob)) == len(questions)
