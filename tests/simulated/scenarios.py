"""Short stories in a world in which nothing goes wrong by itself: what a storm once found, told as it happened."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from tests.acceptance.chaos.answers import answer_in
from tests.conftest import PASSWORD
from tests.simulated.people import MARK_OF_PRIVATE_ANSWERS
from tests.simulated.world import World

Scenario = Callable[[World], Coroutine[Any, Any, None]]
SECONDS_TO_BEGIN = 5.0
SECONDS_TO_ANSWER = 30.0
SECONDS_BETWEEN_LINES = 0.5


async def ends_while_it_resumes_discord(world: World) -> None:
    """A process that is told to end while discord.py resumes its connection ends."""
    bob = world.instances[0]
    await asyncio.sleep(5)
    world.discord.reconnect()
    await asyncio.sleep(0.002)
    world.network.separate(bob.name, "discord")
    await asyncio.sleep(1)
    world.terminate(bob)
    assert bob.task is not None
    await asyncio.wait({bob.task}, timeout=60)
    assert bob.task.done(), world.where_it_stands(bob)


class Chat:
    """What one person says to Bob directly, on either platform, and what is to be read there of his."""

    def __init__(self, world: World, surface: str) -> None:
        self._world, self._is_slack = world, surface == "slack"
        self._said: list[Any] = []

    async def say(self, *lines: str) -> None:
        """Say something, one line right after the other."""
        for line in lines:
            says = self._world.slack.says if self._is_slack else self._world.discord.says
            self._said.append(says(*(("U1", "D1", line) if self._is_slack else ("ada", "dm", line))))
            await asyncio.sleep(SECONDS_BETWEEN_LINES)

    def delete(self, number: int) -> None:
        """Delete what was said, by its place."""
        if self._is_slack:
            self._world.slack.deletes("D1", self._said[number])
        else:
            self._world.discord.deletes(self._said[number])

    def edit(self, number: int, text: str) -> None:
        """Have it say something else."""
        if self._is_slack:
            self._world.slack.edits("D1", self._said[number], text)
        else:
            self._world.discord.edits(self._said[number], text)

    async def answers(self) -> list[tuple[bool, str, str]]:
        """What can be read a while later: whether it is private, to what it is, what its model had been told."""
        await asyncio.sleep(SECONDS_TO_ANSWER)
        texts = [text for text in self._shown() if text]
        private = [text.startswith("🔒") for text in texts]
        found = [answer_in(MARK_OF_PRIVATE_ANSWERS.sub("", text)) for text in texts]
        assert None not in found, texts
        told = [(" ".join(each.lines), " ".join(each.known)) for each in found if each is not None]
        return [(is_private, *each) for is_private, each in zip(private, told, strict=True)]

    def _shown(self) -> list[str]:
        if self._is_slack:
            return [text for ts in self._said for text in self._world.slack.replies("D1", ts)]
        return [
            message.text for message in self._world.discord.messages(self._world.discord.dm("ada")) if message.by_bot
        ]


async def _chats(world: World) -> Sequence[Chat]:
    await asyncio.sleep(SECONDS_TO_BEGIN)
    return [Chat(world, surface) for surface in ("slack", "discord")]


async def lines_said_directly_are_one_question(world: World) -> None:
    """What is said in a row to Bob directly has one answer, also where his process dies before it is asked."""
    for chat in await _chats(world):
        await chat.say("Q1-k1", "Q2-k1", "Q3-k1")
        world.kill(world.instances[0])
        assert await chat.answers() == [(False, "Q1-k1 Q2-k1 Q3-k1", "Q1-k1 Q2-k1 Q3-k1")]


async def a_question_without_its_line_with_the_password_stays_private(world: World) -> None:
    """Who deletes the line that says the password is answered in private, and what is said next is not told of it."""
    for chat in await _chats(world):
        await chat.say(f"Q1-k1 {PASSWORD}", "Q2-k1")
        chat.delete(0)
        assert await chat.answers() == [(True, "Q2-k1", "Q2-k1")]
        await chat.say("Q3-k1")
        assert (await chat.answers())[1:] == [(False, "Q3-k1", "Q3-k1")]


async def a_question_whose_every_line_is_deleted_has_no_answer(world: World) -> None:
    """Who deletes all that was said reads nothing, private or not."""
    for chat in await _chats(world):
        await chat.say(f"Q1-k1 {PASSWORD}", "Q2-k1")
        chat.delete(1)
        chat.delete(0)
        assert await chat.answers() == []


async def a_question_whose_password_is_edited_away_stays_private(world: World) -> None:
    """Who edits the line that says the password, so that it does not, is answered in private."""
    for chat in await _chats(world):
        await chat.say(f"Q1-k1 {PASSWORD}", "Q2-k1")
        chat.edit(0, "Q3-k1")
        assert await chat.answers() == [(True, "Q3-k1 Q2-k1", "Q3-k1 Q2-k1")]


async def a_question_into_which_a_password_is_edited_is_private(world: World) -> None:
    """Who edits the password into a line is answered in private."""
    for chat in await _chats(world):
        await chat.say("Q1-k1", "Q2-k1")
        chat.edit(1, f"Q3-k1 {PASSWORD}")
        assert await chat.answers() == [(True, "Q1-k1 Q3-k1", "Q1-k1 Q3-k1")]


SEEDS_THAT_FAILED: Mapping[str, Sequence[str]] = {
    "a responder that ended late gave up the lease that its process had taken anew, for ever": (
        "--seed", "2", "--turns", "60", "--instances", "2", "--people", "slack=6", "--hosts", "one", "--kinds", "",
        "--poison", "no", "--erases", "no", "--changes", "yes", "--files", "no", "--lines", "no",
    ),
    "a question that waited for lines while the store was away was let go of and stayed in hand, for ever": (
        "--seed", "7201", "--turns", "75", "--instances", "3", "--people", "slack=4,discord=4", "--hosts", "one",
        "--kinds", "cut,discord,kill,kill at a step,pause,separate,slack,slack sockets,store fails,store is lost,"
        "terminate,vanish", "--poison", "no", "--erases", "no", "--changes", "yes", "--files", "yes", "--lines", "yes",
    ),
}  # fmt: skip
"""Runs in which Bob broke a promise once, by what went wrong."""

SCENARIOS: Mapping[str, Scenario] = {
    each.__name__: each
    for each in (
        ends_while_it_resumes_discord,
        lines_said_directly_are_one_question,
        a_question_without_its_line_with_the_password_stays_private,
        a_question_whose_every_line_is_deleted_has_no_answer,
        a_question_whose_password_is_edited_away_stays_private,
        a_question_into_which_a_password_is_edited_is_private,
    )
}
