"""Bob killed between the first byte of a file and the answer to its question, on each surface, one point at a time.

Whatever the point, the next process goes on: people read one whole answer, the model is told the whole file, once, and
no byte stays of a file that belongs to no turn.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from tests.acceptance.processes import Nursery
from tests.acceptance.test_kill_points import (
    ASKING,
    Chain,
    InSlack,
    Model,
    OnDiscord,
    OnTheWeb,
    People,
)
from tests.bots.conftest import comes_true
from tests.core.fixtures.database import change, rows
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.discord_content import File
from tests.fakes.openai_api import Asked, FakeOpenAI, Reply
from tests.fakes.openai_model import markers, user_texts
from tests.fakes.slack_api import FakeSlack

Environment = Callable[..., dict[str, str]]
Surface = Literal["web", "slack", "discord"]

LINES = [f"line {n} of the log" for n in range(200)]


def _noise() -> bytes:
    """A picture of which several pieces are kept."""
    image = Image.frombytes("RGB", (310, 310), random.Random(1).randbytes(310 * 310 * 3))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


FILES = {"noise.png": _noise(), "a.log": "\n".join(LINES).encode()}
KEPT = ("commit take_in", "commit add_piece")
STEPS: dict[Surface, Sequence[str]] = {
    "web": (*KEPT, "commit accept", "reply /ask 200", "reply /ask turn", *ASKING),
    "slack": (
        "commit accept",
        "commit take_up",
        "call Slack GET /files.info",
        "call Slack GET /files-pri/*/download/noise.png",
        *KEPT,
        "commit give",
        "call Slack GET /files-pri/*/download/a.log",
        "commit note_prepared",
        "commit begin",
        *ASKING,
    ),
    "discord": (
        "commit accept",
        "commit take_up",
        "call Discord GET /attachments/*/*/noise.png",
        *KEPT,
        "commit give",
        "call Discord GET /attachments/*/*/a.log",
        "commit note_prepared",
        "commit begin",
        *ASKING,
    ),
}
POINTS = {
    surface: [f"{side} {step}" for step in steps for side in ("before", "after")] for surface, steps in STEPS.items()
}
PARTS = 13  # an odd number, so that each has points before a step and after one


def sent_with(question: str) -> dict[str, bytes]:
    """The files that a question comes with: the one that a process dies of has some."""
    return FILES if question.startswith("Q0-") else {}


class ReadingModel(Model):
    """It looks at what it is told of files."""

    def __init__(self, fake: FakeOpenAI) -> None:
        super().__init__(fake)
        self.wrong: list[str] = []
        self._picture = ""

    def _answer(self, asked: Asked) -> Reply:
        self._look_at(asked)
        return super()._answer(asked)

    def _look_at(self, asked: Asked) -> None:
        question, files = markers(asked.view)[-1], asked.files
        pictures = [hashlib.sha256(data).hexdigest() for _, data in files]
        self._picture = self._picture or pictures[0]
        if pictures != [self._picture]:
            self.wrong.append(f"{question} was asked with {len(pictures)} pictures, or with a part of one")
        told = "\n".join(user_texts(asked.view))
        if [told.count(f"> {line}\n") for line in LINES[:-1]] != [1] * (len(LINES) - 1):
            self.wrong.append(f"{question} was not asked with the whole log, once")


class OnTheWebWithFiles(OnTheWeb):
    def _body(self, session: str, question: str) -> dict[str, Any]:
        files = [
            {"name": name, "data": f"data:;base64,{base64.b64encode(data).decode()}"}
            for name, data in sent_with(question).items()
        ]
        return {**super()._body(session, question), "files": files}


class InSlackWithFiles(InSlack):
    def _says(self, question: str, thread: str | None) -> str:
        files = [self._slack.add_file(name, data) for name, data in sent_with(question).items()]
        return self._slack.says("U1", "C1", f"<@{self._slack.bot_user}> {question}", thread_ts=thread, files=files)


class OnDiscordWithFiles(OnDiscord):
    def _says(self, question: str, where: int | str) -> int:
        files = [File(name, data) for name, data in sent_with(question).items()]
        return self._discord.says("ada", where, f"{self._discord.mention} {question}", attachments=files)


@contextlib.contextmanager
def people_on(surface: Surface, model: Model) -> Iterator[People]:
    if surface == "web":
        yield OnTheWebWithFiles(model)
    elif surface == "slack":
        with FakeSlack() as slack:
            yield InSlackWithFiles(model, slack)
    else:
        with FakeDiscord() as discord:
            yield OnDiscordWithFiles(model, discord)


@contextlib.asynccontextmanager
async def chain(
    name: str, nursery: Nursery, surface: Surface, model: Model, settings: dict[str, str]
) -> AsyncIterator[Chain]:
    with people_on(surface, model) as people:
        yield Chain(name, nursery, people, settings, earlier=0)
        people.judge()


@pytest.fixture
def model(fake: FakeOpenAI) -> ReadingModel:
    return ReadingModel(fake)


@pytest.fixture(params=list(STEPS))
def surface(request: pytest.FixtureRequest) -> Surface:
    found: Surface = request.param
    return found


@pytest.mark.thorough
async def test_a_turn_with_a_file_reaches_the_points_at_which_it_is_killed(
    model: ReadingModel, environment: Environment, tmp_path: Path, surface: Surface
) -> None:
    async with Nursery(tmp_path) as nursery, chain("r", nursery, surface, model, environment()) as running:
        reached = await running.record()
    print(f"\n{surface}:", *reached, sep="\n  ")
    assert {*POINTS[surface]} <= {*reached}


def left_of_no_turn(url: str) -> int:
    """How many pieces there are of files that belong to no turn, or are none."""
    found = rows(
        url,
        "SELECT count(*) AS n FROM attachment_piece WHERE attachment_id NOT IN "
        "(SELECT id FROM attachment WHERE turn_id IS NOT NULL)",
    )
    return int(found[0]["n"])


def kept_in_part(url: str) -> Sequence[Any]:
    """The files of turns of which not all is there."""
    return rows(
        url,
        "SELECT attachment.id FROM attachment LEFT JOIN attachment_piece ON attachment_id = attachment.id "
        "WHERE turn_id IS NOT NULL GROUP BY attachment.id, kept HAVING kept <> coalesce(sum(length(data)), 0)",
    )


@pytest.mark.one_in(PARTS)
@pytest.mark.parametrize("part", range(PARTS))
async def test_a_question_with_a_file_is_answered_once_with_the_whole_of_it_whenever_its_process_is_killed(
    model: ReadingModel, environment: Environment, tmp_path: Path, surface: Surface, part: int
) -> None:
    settings = environment(DATABASE_URL=f"sqlite:///{tmp_path}/bob.db", TMPDIR=str(tmp_path))
    async with Nursery(tmp_path) as nursery, chain("c", nursery, surface, model, settings) as running:
        wrong = await running.die_at(POINTS[surface][part::PARTS])
        assert wrong == {}
        assert model.wrong == []
        url = settings["DATABASE_URL"]
        assert kept_in_part(url) == []
        change(url, "UPDATE attachment SET taken_at = taken_at - 3601 WHERE turn_id IS NULL")
        await nursery.start({**settings, "PORT": "0"})
        await comes_true(lambda: not rows(url, "SELECT id FROM attachment WHERE turn_id IS NULL"))
        assert left_of_no_turn(url) == 0
    assert len(rows(url, "SELECT id FROM attachment")) == len(FILES) * len(
        rows(url, "SELECT id FROM turn WHERE question LIKE '%Q0-%'")
    )
