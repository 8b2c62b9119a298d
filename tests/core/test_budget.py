"""What one question may cost is bounded, however long its session is, and the newest turns stay in view."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from core import AnswerFailed, Chat, Outcome, Preparation, Question, Remarks, Turn
from core.openai_model import reading
from core.threads import tokens_in
from core.turns import Usage
from tests.conftest import opened
from tests.fakes.openai_api import Asked, FakeOpenAI, Reply, Status
from tests.fakes.openai_model import markers, texts_of, tokens

SESSION = "web:public:1"
MODES = ("conversations", "local")
ALWAYS_IN_VIEW = 3
PARAGRAPH = "A sentence of some forty letters it is. "
ANSWER = PARAGRAPH * 38  # 1.5 kB


def assistants_toml(folder: Path, budget: int) -> Path:
    path = folder / "assistants.toml"
    path.write_text(
        "\n".join(
            f'[[assistant]]\nname = "{name}"\nmodel = "model-{name}"\ninstructions = "Be {name}."\n'
            f"token_budget = {budget}\n"
            for name in ("Ann", "Ben")
        )
    )
    return path


class Reader:
    """Answers at length, and notes what each answer had to be read for."""

    def __init__(self, answer: str | Reply = ANSWER) -> None:
        self.answer = answer
        self.seen: list[list[str]] = []
        self.read: list[int] = []

    def __call__(self, asked: Asked) -> str | Reply:
        self.seen.append(markers(asked.view))
        self.read.append(tokens([asked.instructions, *(text for item in asked.view for text in texts_of(item))]))
        return self.answer

    @property
    def rebuilds(self) -> int:
        """How often the oldest turn in view was another than before."""
        return sum(one[0] != other[0] for one, other in zip(self.seen, self.seen[1:], strict=False))


async def accepted(chat: Chat, text: str) -> Turn:
    turn = await chat.accept(Question("web", SESSION, text))
    assert turn is not None
    return turn


async def ask(chat: Chat, text: str) -> str:
    return (await chat.answering(await accepted(chat, text)).whole()).text


def expect_newest_in_view(seen: list[list[str]]) -> None:
    for number, view in enumerate(seen):
        newest = [f"Q{each}-a" for each in range(max(0, number - ALWAYS_IN_VIEW), number + 1)]
        assert view[-len(newest) :] == newest
        assert view == [f"Q{each}-a" for each in range(number + 1 - len(view), number + 1)]  # no gap


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", MODES)
async def test_after_three_hundred_long_turns_a_question_costs_no_more_than_its_budget(
    mode: str, sqlite_url: str, tmp_path: Path
) -> None:
    reader = Reader()
    with FakeOpenAI(check=False) as fake:
        fake.answer = reader
        async with opened(
            fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, 6_000)
        ) as chat:
            for number in range(300):
                await ask(chat, f"Q{number}-a {PARAGRAPH}")
        assert fake.questions_told_twice() == []
        if mode == "conversations":
            assert len(fake.conversations) == reader.rebuilds + 1
    with closing(sqlite3.connect(tmp_path / "bob.db")) as database:
        counted = [count for (count,) in database.execute("SELECT input_tokens FROM turn ORDER BY number")]
    assert counted == reader.read
    assert max(counted) <= 6_000
    assert max(counted) > 4_000  # the budget is made use of
    assert 0 < reader.rebuilds < 300 / 4
    expect_newest_in_view(reader.seen)


@pytest.mark.parametrize("mode", MODES)
async def test_a_server_that_does_not_count_tokens_is_asked_within_the_budget_too(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "_usage", lambda response: Usage())
    reader = fake.answer = Reader()
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, 6_000)) as chat:
        for number in range(60):
            await ask(chat, f"Q{number}-a {PARAGRAPH}")
    assert max(reader.read) <= 6_000
    assert 0 < reader.rebuilds < 60 / 4
    expect_newest_in_view(reader.seen)


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_whose_answers_are_always_stopped_stays_within_the_budget(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    reader = fake.answer = Reader(Reply(pieces=[ANSWER, "and so on"], gate=fake.gate()))
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, 3_000)) as chat:
        for number in range(20):
            turn = await accepted(chat, f"Q{number}-a {PARAGRAPH * 10}")
            answer = chat.answering(turn)
            async for _ in answer.growing():
                break
            await chat.stop(turn.id)
            assert (await answer.whole()).outcome is Outcome.STOPPED
    assert max(reader.read) <= 3_000
    assert reader.seen[-1][-2:] == ["Q18-a", "Q19-a"]


@pytest.mark.parametrize("mode", MODES)
async def test_an_assistant_that_fails_for_a_while_is_not_told_more_than_its_budget_meanwhile(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    reader = fake.answer = Reader()
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, 3_000)) as chat:
        for number in range(0, 30, 3):
            await chat.choose(SESSION, "web", "Ann")
            await ask(chat, f"Q{number}-a")
            await ask(chat, f"Q{number + 1}-a")
            await chat.choose(SESSION, "web", "Ben")
            fake.fail("POST", "/responses", Status(400, "invalid_prompt"))
            with pytest.raises(AnswerFailed):
                await ask(chat, f"Q{number + 2}-a")
        await ask(chat, "Q50-a")
    assert max(reader.read) <= 3_000
    assert reader.seen[-1][-2:] == ["Q28-a", "Q50-a"]


@pytest.mark.parametrize("mode", MODES)
async def test_what_was_prepared_for_a_question_counts_too(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    async def prepare(turn: Turn) -> Preparation:
        return Preparation(remarks=[Remarks(PARAGRAPH * 100)])  # 1,000 tokens

    reader = fake.answer = Reader()
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, 6_000)) as chat:
        for number in range(30):
            turn = await accepted(chat, f"Q{number}-a")
            await chat.answering(turn, prepare=prepare).whole()
    assert max(reader.read) <= 6_000


@pytest.mark.parametrize("mode", MODES)
async def test_a_question_that_is_larger_than_the_budget_goes_out_alone(
    mode: str, fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    reader = fake.answer = Reader("Noted.")
    async with opened(fake, sqlite_url, openai_threads=mode, assistants_file=assistants_toml(tmp_path, 1_000)) as chat:
        await ask(chat, "Q0-a")
        await ask(chat, "Q1-a " + "x" * 31_000)
        await ask(chat, "Q2-a")
        await ask(chat, "Q3-a")
    assert reader.seen[:2] == [["Q0-a"], ["Q1-a"]]
    assert reader.seen[3] == ["Q2-a", "Q3-a"]
    assert max(reader.read[2:]) <= 1_000


async def test_catching_up_with_more_than_the_budget_takes_the_newest_turns_only(
    fake: FakeOpenAI, sqlite_url: str, tmp_path: Path
) -> None:
    reader = fake.answer = Reader()
    async with opened(fake, sqlite_url, assistants_file=assistants_toml(tmp_path, 4_000)) as chat:
        await chat.choose(SESSION, "web", "Ben")
        await ask(chat, "Q0-a")
        await chat.choose(SESSION, "web", "Ann")
        for number in range(1, 25):
            await ask(chat, f"Q{number}-a")
        await chat.choose(SESSION, "web", "Ben")
        await ask(chat, "Q25-a")
    assert reader.read[-1] <= 4_000
    assert 3 <= len(reader.seen[-1]) < 12
    assert reader.seen[-1] == [f"Q{number}-a" for number in range(26 - len(reader.seen[-1]), 26)]


@pytest.mark.parametrize("text", ["", "a", PARAGRAPH, "日本語のテキスト" * 50, "🙂" * 40, "\n" * 90])
def test_the_estimate_is_rather_too_high_than_too_low(text: str) -> None:
    assert tokens([text]) < tokens_in(text) <= len(text.encode()) // 3 + 8


async def test_many_sessions_at_once_keep_to_their_budgets(fake: FakeOpenAI, sqlite_url: str, tmp_path: Path) -> None:
    reader = fake.answer = Reader()

    async def talk(chat: Chat, session: int) -> None:
        for number in range(12):
            question: Any = Question("web", f"web:public:{session}", f"Q{number}-s{session}")
            turn = await chat.accept(question)
            assert turn is not None
            await chat.answering(turn).whole()

    async with opened(fake, sqlite_url, assistants_file=assistants_toml(tmp_path, 2_000)) as chat:
        await asyncio.gather(*(talk(chat, session) for session in range(5)))
    assert max(reader.read) <= 2_000
    assert all(len({marker.partition("-")[2] for marker in view}) == 1 for view in reader.seen)
