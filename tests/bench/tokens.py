"""What a turn costs as a session grows: tokens sent, next to an app that never forgets."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import tempfile
from pathlib import Path

from core import Question
from tests.conftest import opened
from tests.fakes.openai_api import FakeOpenAI

TURNS = 300
LOOKS = (1, 10, 100, 300)
BUDGET = 60_000  # of the built-in assistants
ANSWER = "This is one sentence of a rather long answer, as assistants like to give them. " * 60  # some 1,200 tokens


def main() -> None:
    bounded, unbounded = asyncio.run(_long_session())
    print(f"\ninput tokens of turn{'':24s}" + "".join(f"{look:>9d}" for look in LOOKS))
    for name, tokens in (("never forgetting", unbounded), ("Bob", bounded)):
        print(f"{name:44s}" + "".join(f"{tokens[look - 1]:>9,d}" for look in LOOKS))
    print(f"{'Bob/never forgetting':44s}" + "".join(f"{bounded[n - 1] / unbounded[n - 1]:>9.2f}" for n in LOOKS))
    print(f"{f'most in any turn (budget {BUDGET:,})':44s}{max(bounded):>9,d}")


async def _long_session() -> tuple[list[int], list[int]]:
    """Input tokens of each turn as the upstream counted them, and as they would be if nothing were ever left out."""
    with FakeOpenAI(check=False) as fake, tempfile.TemporaryDirectory(prefix="bob-bench-") as folder:
        fake.answer = lambda _: ANSWER
        file = Path(folder) / "bob.db"
        async with opened(fake, f"sqlite:///{file}") as chat:
            for number in range(TURNS):
                turn = await chat.accept(Question("web", "web:public:long", question(number)))
                assert turn is not None
                await chat.answering(turn).whole()
        with contextlib.closing(sqlite3.connect(file)) as connection:
            bounded = [row[0] for row in connection.execute("SELECT input_tokens FROM turn ORDER BY number")]
        turn_tokens = bounded[1] - bounded[0]
        return bounded, [bounded[0] + number * turn_tokens for number in range(TURNS)]


def question(number: int) -> str:
    return f"Question {number}: " + "what about this part of it, then? " * 6
