"""`bob why` on the command line: it reads the database beside Bob, and says what is known, or where to look."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import Event, Fate, Question
from tests.acceptance.processes import command
from tests.conftest import opened
from tests.core.fixtures.database import contents
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.web.conftest import served
from web.why import WHYS, line_of, time_in

Environment = Callable[..., dict[str, str]]
ADA = "slack:T1:U1"
LINK = "https://acme.slack.com/archives/C1/p1712345678000100"


async def asked(fake: FakeOpenAI, database_url: str) -> str:
    """Ask two questions, one of them without an answer: the id of the first turn."""
    async with opened(fake, database_url) as chat:
        session, event = "slack:T1:C1:1712345678.000100", "T1:C1:1712345678.000100"
        turn = await chat.accept(Question("slack", session, "a secret of Ada's", event, ADA))
        assert turn is not None
        await chat.answering(turn).whole()
        chat.stories.note(
            Event(
                surface="slack", event_id="T1:C2:1712345679.000100", fate=Fate.NOT_ALLOWED, why="SLACK_CHANNELS",
                session="slack:T1:C2:1712345679.000100", person=ADA,
            )
        )  # fmt: skip
        return turn.id


async def test_a_message_a_reference_a_person_and_a_session_are_looked_up_while_bob_runs(
    fake: FakeOpenAI, sqlite_url: str, environment: Environment, tmp_path: Path
) -> None:
    turn_id = await asked(fake, sqlite_url)

    def why(*arguments: str) -> list[str]:
        done = command(environment(), tmp_path, "why", *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "secret" not in done.stdout
        return done.stdout.splitlines()

    async with opened(fake, sqlite_url):
        told = why(LINK)
        assert told[0] == "Answered."
        assert told[1] == f"  slack  turn {turn_id[:8]}  slack:T1:C1:1712345678.000100  {ADA}"
        assert [line.split("  ")[-1] for line in told[2:6]] == ["said", "accepted for Bob", "begun", "closed: answered"]
        assert why("C1:1712345678.000100") == told
        assert why(turn_id[:8]) == why(turn_id) == [*told[:2], *told[3:]]
        both = why("--person", ADA)
        assert [line for line in both if line and not line.startswith(" ")] == [
            "Answered.", f"Not allowed: {WHYS['SLACK_CHANNELS']}",
        ]  # fmt: skip
        assert why("--session", "slack:T1:C1:1712345678.000100") == [*told[:2], *told[3:]]
        (story,) = json.loads("\n".join(why(LINK, "--json")))["stories"]
        assert (story["became"], story["turn"]["reference"]) == ("answered", turn_id[:8])
    assert "Answered." not in contents(sqlite_url)


def test_of_what_never_came_it_says_what_there_is_to_look_at_and_ends_with_1(
    sqlite_url: str, environment: Environment, tmp_path: Path
) -> None:
    done = command(environment(), tmp_path, "why", LINK)
    assert done.returncode == 1
    assert done.stdout.startswith("It never reached Bob as a question.\n")
    assert "/invite @Bob" in done.stdout
    known = command(environment(), tmp_path, "why", "--person", ADA, "--around", "2026-11-30 20:15")
    assert (known.returncode, known.stdout) == (1, "Nothing is known of what they asked then.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Name one message"),
        ((LINK, "--person", ADA), "Name one message"),
        ((LINK, "--around", "20:15"), "Name one message"),
        (("--person", ADA, "--around", "noon"), "--around"),
        (("what is this",), "no link"),
        (("0123abcd",), "no turn with this reference"),
    ],
)
def test_what_cannot_be_looked_up_is_said(
    sqlite_url: str, environment: Environment, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    done = command(environment(), tmp_path, "why", *arguments)
    assert done.returncode in (1, 2)
    assert said in done.stderr


def test_a_time_is_one_of_this_machine_unless_it_says_more() -> None:
    assert time_in("2026-11-30 20:15+00:00") == 1_796_069_700
    assert time_in("2026-11-30T21:15+01:00") == 1_796_069_700
    assert time_in("2026-11-30 20:15") - time_in("2026-11-30 20:10") == 300
    assert 0 <= time_in("23:59") % 60 < 60


async def test_what_is_refused_over_http_is_kept_and_what_finds_no_room_is_counted(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply(pieces=["One", " two."], gate=gate)
    limits: dict[str, Any] = {"max_turns_at_once_of_an_address": 1, "max_question_characters": 20}
    async with served(fake, sqlite_url, **limits) as site:
        asking = asyncio.ensure_future(site.answer("hello"))
        await fake.until(lambda fake: fake.active == 1)
        assert (await site.ask("and I?", "2"))[0] == 429
        gate.open()
        await asking
        assert (await site.ask("this is far too long to be asked", "3"))[0] == 422
        await site.chat.stories.write_the_rest()
        (story,) = await site.chat.stories.of_session("web:public:3")
        assert line_of(story) == f"Refused: {WHYS['BadQuestion']}"
        counted = await site.chat.stories.counted(story.at, story.at)
        assert {(each.fate, each.why) for each in counted} == {(Fate.LIMITED, "HTTP 429")}
