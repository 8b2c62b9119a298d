"""Messages as any surface takes them in: the smallest one there can be, which says only how a sentence is shown."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from bots.shared.controls import NOTHING_TO_RESET, NOTHING_TO_STOP, WAS_RESET, Controls, Wording
from bots.shared.incoming import Incoming
from bots.shared.intake import Intake
from bots.shared.prepare import NOT_SURE, Preparing
from core import Chat, Json, Outcome, Question, Sentence
from tests.conftest import opened

SURFACE = "toy"
WORDING = Wording(
    "Toy", Sentence("I answer."), session=Sentence("this channel"), to_choose="`assistant NAME`", to_lock="`lock`",
    admins=Sentence("the owner"),
)  # fmt: skip
REFUSAL = Sentence("Sorry, not you.")


class Bouncer(Preparing[Json]):
    """Lets Eve ask nothing, and has to look for Mallory without finding her."""

    def refusal_at_once(self, destination: Json) -> Sentence | None:
        return REFUSAL if destination["user"] == "eve" else None

    def _needs_a_look(self, destination: Json) -> bool:
        return bool(destination["user"] == "mallory")

    async def _refusal_after_a_look(self, destination: Json) -> Sentence | None:
        raise TimeoutError


class Toy:
    """A surface of one channel, whose messages are numbered."""

    def __init__(self, chat: Chat, join_seconds: float = 0.0) -> None:
        self.chat = chat
        self.sentences: list[tuple[str, str]] = []
        self.offers: list[tuple[str, str]] = []
        controls = Controls(chat, SURFACE, WORDING)
        self.intake = Intake(
            chat, SURFACE, self._accept, Bouncer(chat, SURFACE), self._say, controls=controls,
            join_seconds=join_seconds, offer=lambda turn, now: self.offers.append((turn.question, now.text)),
        )  # fmt: skip

    async def _accept(self, question: Question) -> None:
        await self.chat.accept(question)

    def _say(self, incoming: Incoming, sentence: str) -> None:
        self.sentences.append((incoming.key, sentence))

    async def asked(self, key: str) -> str | None:
        """What a message became a question of."""
        turn = await self.chat.turn_of(SURFACE, key)
        return turn.question if turn is not None else None


@contextlib.asynccontextmanager
async def a_toy(database_url: str, *, join_seconds: float = 0.0) -> AsyncIterator[Toy]:
    async with opened(None, database_url) as chat:
        yield Toy(chat, join_seconds)


def a_message(key: str, text: str, *, user: str = "ada", **more: Any) -> Incoming:
    return Incoming(
        key=key, session="toy:general", place="toy:general", channel="general", person=f"toy:{user}", text=text,
        destination={"user": user}, asker=user, **more,
    )  # fmt: skip


async def test_a_question_is_asked_once_however_often_it_is_delivered(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        for _ in range(3):
            await toy.intake.message(a_message("1", "What is new?"))
        assert await toy.asked("1") == "What is new?"
        assert len(await toy.chat.open_turns_in("toy:general")) == 1


async def test_a_question_that_cannot_be_asked_gets_one_sentence(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        for _ in range(2):
            await toy.intake.message(a_message("1", "Hello\0"))
        assert toy.sentences == [("1", "The question contains a NUL character.")]
        assert await toy.asked("1") is None


async def test_what_does_not_mention_us_is_asked_only_where_we_take_part_or_need_no_mention(
    sqlite_url: str,
) -> None:
    async with a_toy(sqlite_url) as toy:
        await toy.intake.message(a_message("1", "Hello", is_addressed=False, is_follow_up=True))
        assert await toy.asked("1") is None
        await toy.intake.message(a_message("2", "Hello", is_addressed=False, needs_no_mention=True))
        await toy.intake.message(a_message("3", "And then?", is_addressed=False, is_follow_up=True))
        await toy.intake.message(a_message("4", "Eve, and then?", is_addressed=False))
        assert [await toy.asked(key) for key in "234"] == ["Hello", "And then?", None]


async def test_whoever_may_not_ask_is_told_once_and_only_if_they_spoke_to_us(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        await toy.intake.message(a_message("1", "Hello", user="eve", is_addressed=False, needs_no_mention=True))
        for _ in range(2):
            await toy.intake.message(a_message("2", "Hello", user="eve"))
        assert toy.sentences == [("2", REFUSAL)]
        assert await toy.asked("2") is None


async def test_commands_are_carried_out_once_and_asked_of_nobody(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        for key, text in enumerate(("reset", "!stop", "/help", "assistant Nobody")):
            for _ in range(2):
                await toy.intake.message(a_message(str(key), text))
        sentences = [sentence for _, sentence in toy.sentences]
        assert sentences[:3] == [NOTHING_TO_RESET, NOTHING_TO_STOP, "I answer."]
        assert sentences[3].startswith("There is no assistant of that name")
        assert [await toy.asked(str(key)) for key in range(4)] == [None] * 4
        await toy.intake.message(a_message("5", "Hello"))
        await toy.intake.message(a_message("6", "Reset."))
        assert toy.sentences[4:] == [("6", WAS_RESET)]


async def test_commands_of_whom_nobody_can_judge_are_not_carried_out(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        await toy.intake.message(a_message("1", "Hello"))
        await toy.intake.message(a_message("2", "reset", user="mallory"))
        assert toy.sentences == [("2", NOT_SURE)]


async def test_an_edit_changes_a_waiting_question_and_asks_one_that_mentions_us_by_now(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        before = a_message("1", "Hello", is_addressed=False)
        now = a_message("1", "Hello there", mentions_us=True)
        await toy.intake.message(before)
        await toy.intake.edited(now, "edit:1", before=before)
        assert await toy.asked("1") == "Hello there"
        await toy.intake.edited(a_message("1", "", mentions_us=True), "edit:2")
        await toy.intake.edited(a_message("1", "Bye", user="mallory", mentions_us=True), "edit:3", before=now)
        assert await toy.asked("1") == "Hello there"
        await toy.intake.edited(a_message("1", "Bye", mentions_us=True), "edit:4", before=now)
        await toy.intake.edited(a_message("1", "Hello there", mentions_us=True), "edit:4")
        assert await toy.asked("1") == "Bye"


async def test_what_is_deleted_is_answered_no_more(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        await toy.intake.message(a_message("1", "Hello"))
        await toy.intake.deleted("1", "1")
        await toy.intake.deleted("2", "2")
        turn = await toy.chat.turn_of(SURFACE, "1")
        assert turn is not None
        assert (turn.outcome, turn.question) == (Outcome.WITHDRAWN, "")


@pytest.mark.parametrize(
    ("text", "more", "is_asked"),
    [
        ("Is main green?", {"mentions_us": True}, True),
        ("reset", {"mentions_us": True}, True),  # it gives no commands
        ("Is main green?", {}, False),
        ("Is main green?", {"needs_no_mention": True, "is_follow_up": True}, False),
        ("", {"mentions_us": True, "is_bare": True}, False),
        ("", {"mentions_us": True, "unreadable": "Say it again."}, False),
        ("Hello", {"mentions_us": True, "user": "eve"}, False),
        ("Hello\0", {"mentions_us": True}, False),
    ],
)
async def test_an_app_is_asked_for_where_it_mentions_us_and_is_told_nothing_else(
    sqlite_url: str, text: str, more: dict[str, Any], is_asked: bool
) -> None:
    async with a_toy(sqlite_url, join_seconds=60.0) as toy:
        await toy.intake.message(a_message("1", text, by_app=True, line_key="a key", **more))
        await toy.intake.message(a_message("2", "and more", by_app=True, is_addressed=False))
        assert await toy.asked("1") == (text if is_asked else None)
        assert await toy.asked("2") is None
        assert toy.sentences == []
        turn = await toy.chat.turn_of(SURFACE, "1")
        assert turn is None or turn.joins is None


async def test_what_one_author_says_right_after_one_another_is_one_question_where_lines_are_told_apart(
    sqlite_url: str,
) -> None:
    async with a_toy(sqlite_url, join_seconds=60.0) as toy:
        for key, text, more in (
            ("1", "one", {"line_key": "ada"}),
            ("2", "two", {"line_key": "ada", "joins_earlier": True}),
            ("3", "three", {"line_key": "grace", "joins_earlier": True}),
            ("4", "four", {}),
            ("5", "five", {"line_key": "ada", "joins_earlier": False}),
            ("6", "help", {"line_key": "ada", "joins_earlier": True}),
        ):
            await toy.intake.message(a_message(key, text, **more))
        found = [await toy.asked(key) for key in "123456"]
        assert found == ["one\ntwo", "one\ntwo", "three", "four", "five", None]
        await toy.intake.deleted("1", "1")
        assert await toy.asked("2") == "two"
        before, now = (a_message("2", text, line_key="ada", joins_earlier=True) for text in ("two", "TWO"))
        await toy.intake.edited(now, "edit:1", before=before)
        assert await toy.asked("1") == "TWO"


async def test_its_author_is_offered_once_to_ask_again_what_was_changed_after_the_answer(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        as_an_app: dict[str, Any] = {"by_app": True, "mentions_us": True}
        for key, more in (("1", {}), ("2", as_an_app)):
            before = a_message(key, "one", **more)
            await toy.intake.message(before)
            turn = await toy.chat.turn_of(SURFACE, key)
            assert turn is not None
            await toy.chat.answering(turn).whole()
            await toy.chat.shown(turn)
            await toy.intake.edited(a_message(key, "one", **more), f"same:{key}", before=before)
            await toy.intake.edited(a_message(key, "", **more), f"empty:{key}", before=before)
            for number, text in enumerate(("two", "three", "three")):
                await toy.intake.edited(a_message(key, text, **more), f"edit:{key}:{number}", before=before)
        assert toy.offers == [("one", "two")]


async def test_what_is_asked_again_is_changed_and_taken_back_with_its_message(sqlite_url: str) -> None:
    async with a_toy(sqlite_url) as toy:
        await toy.intake.message(before := a_message("1", "one"))
        turn = await toy.chat.turn_of(SURFACE, "1")
        assert turn is not None
        await toy.chat.answering(turn).whole()
        await toy.chat.shown(turn)
        again = await toy.chat.accept(replace(before, key="again:1", text="two").question(SURFACE))
        assert again is not None
        await toy.intake.edited(a_message("1", "three"), "edit:1", before=before)
        assert [await toy.asked(key) for key in ("1", "again:1")] == ["one", "three"]
        await toy.intake.deleted("1", "1")
        withdrawn = await toy.chat.turn(again.id)
        assert withdrawn is not None
        assert withdrawn.outcome is Outcome.WITHDRAWN
        assert toy.offers == []
