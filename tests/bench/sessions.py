"""What look-ups and a question cost among many sessions, against the same among a thousand.

`python -m tests.bench.sessions 1000000` measures among as many.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

import sqlalchemy as sa

from core import Chat, Question
from core.store.database import engine_at
from tests.bench.turns import database_of, opened, postgresql

BASELINE, MANY = 1_000, 100_000
TURNS = 3  # of each session
OF_ONE_KEY = 20  # sessions, whose list is looked at
ROUNDS = 200
SURFACE = "web"
FILL = (
    "INSERT INTO chat_session (name, surface, turns, begins, created_at)"
    " SELECT CASE WHEN n <= :few THEN 'web:alice:' ELSE 'web:public:' END || n, 'web', :turns, 1, n FROM n",
    "INSERT INTO turn (id, session_id, number, surface, event_id, person, question, assistant, private, answer,"
    " outcome, fencing_token, attempts, stop, accepted_at, closed_at)"
    " SELECT 'x' || s.id || '-' || n, s.id, n, 'web', 'e' || s.id || '-' || n, 'p' || (s.id & 1023), 'A question.',"
    " 'Bob', FALSE, 'An answer.', 'answered', 1, 0, FALSE, s.id, 2000000000 FROM chat_session s, m",
    "INSERT INTO posted_message SELECT surface, 'm' || id, id FROM turn",
    "INSERT INTO thread (session_id, assistant, private, scope, begins, synced, in_doubt, tokens)"
    " SELECT id, 'Bob', FALSE, 'a scope', 1, 3, FALSE, 0 FROM chat_session",
)
NUMBERS = "WITH RECURSIVE {0} (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM {0} WHERE n < {1})"


def fill(url: str, sessions: int) -> None:
    """Let there be as many sessions."""
    engine = engine_at(url, may_be_new=True)
    with engine.begin() as connection:
        for statement in FILL:
            head, _, rest = statement.partition(" SELECT ")
            numbers = ""
            if rest.endswith("FROM n"):
                numbers = NUMBERS.format("n", sessions)
            elif rest.endswith(", m"):
                numbers = NUMBERS.format("m", TURNS)
            given = {"few": OF_ONE_KEY, "turns": TURNS} if ":few" in statement else {}
            connection.execute(sa.text(f"{head} {numbers} SELECT {rest}"), given)
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("VACUUM ANALYZE"))
    engine.dispose()


Look = Callable[[int], Awaitable[object]]


def looks(chat: Chat, sessions: int) -> dict[str, Look]:
    """What is measured; each is given another number each time."""

    async def ask(number: int, name: str) -> None:
        turn = await chat.accept(Question(SURFACE, name, "hello", event_id=f"{number}-{name}"), then="ask")
        assert turn is not None
        await chat.answering(turn).whole()

    def one(number: int) -> int:
        return 1 + number * 7919 % sessions

    return {
        "a question in a new session": lambda n: ask(n, f"web:public:new-{n}"),
        "a question in one of them": lambda n: ask(n, f"web:public:{max(OF_ONE_KEY + 1, one(n))}"),
        "a turn by its event": lambda n: chat.turn_of(SURFACE, f"e{one(n)}-2"),
        "a turn by what shows it": lambda n: chat.showing(SURFACE, f"mx{one(n)}-2"),
        "who began a session": lambda n: chat.starter(f"web:public:{max(OF_ONE_KEY + 1, one(n))}"),
        "a transcript": lambda n: chat.exchanges(
            f"web:public:{max(OF_ONE_KEY + 1, one(n))}", private=True, before=None, limit=20
        ),
        "the sessions of a key": lambda _: chat.sessions("web:alice:", after=None, limit=21),
        "open turns of a person": lambda n: chat.open_turns_asked_by(f"p{n & 1023}"),
        "known events": lambda n: chat.known_events(SURFACE, [f"e{one(n + m)}-1" for m in range(20)]),
    }


async def measured(urls: Mapping[int, str]) -> dict[str, list[float]]:
    """Milliseconds of each among so many sessions, in the median. They are measured by turns."""
    async with contextlib.AsyncExitStack() as stack:
        chats = {sessions: await stack.enter_async_context(opened(url)) for sessions, url in urls.items()}
        for sessions, url in urls.items():
            await asyncio.to_thread(fill, url, sessions)
        of_each = [looks(chat, sessions) for sessions, chat in chats.items()]
        found: dict[str, list[float]] = {}
        for name in of_each[0]:
            taken: list[list[float]] = [[] for _ in of_each]
            for number in range(ROUNDS):
                for look, times in zip(of_each, taken, strict=True):
                    began = time.perf_counter()
                    await look[name](number)
                    times.append((time.perf_counter() - began) * 1000)
            found[name] = [statistics.median(times[ROUNDS // 10 :]) for times in taken]
    return found


def main(many: Sequence[int] = (MANY,)) -> None:
    print(f"\nmilliseconds in the median, and times those among {BASELINE:,} sessions")
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder, postgresql() as server:
        for kind in ("SQLite", "PostgreSQL"):
            urls = {
                sessions: f"sqlite:///{folder}/{sessions}.db"
                if kind == "SQLite"
                else database_of(server, f"s{sessions}")
                for sessions in (BASELINE, *many)
            }
            print(f"{kind:32s}" + "".join(f"{sessions:>12,d}{'':8s}" for sessions in urls))
            for what, found in asyncio.run(measured(urls)).items():
                print(f"  {what:30s}" + "".join(f"{each:>12.2f}{each / found[0]:>8.2f}" for each in found), flush=True)


if __name__ == "__main__":
    main([int(each) for each in sys.argv[1:]] or (MANY,))
