"""Whatever the store is asked, an index answers: no statement looks through a table that grows with use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from core import Attachment, ForgetRequest, Line, Outcome, PasswordsClosed, Question, Turn
from core.archived import ArchivedRating, ArchivedSession, ArchivedTurn, Filters, NewTurn, NewTurns
from core.attachments import FileLimits
from core.events import Event, Fate
from core.forgetting import Retention
from core.password import Password, Passwords
from core.store import Beginning, Begun, Chosen, Plan, Store, liveness
from core.store.condition import condition_of
from core.store.migrations import migrate
from core.turns import SUSPECTED_FROM, ApiKey, Finished
from tests.core.fixtures.database import connected, new_engine
from tests.core.fixtures.store import operations

SURFACE = "web"
SCOPE = "a scope"
GROWING = {
    "chat_session", "turn", "thread", "posted_message", "guess", "lockout", "unlock", "feedback", "control",
    "stored_response", "erasure", "joined_event", "attachment", "attachment_piece", "heard_event",
    "event_count", "takedown",
}  # fmt: skip
SMALL = {"api_key", "identity_key", "lease_owner", "place", "alembic_version", "forget_request"}
# Of open turns, of files that come with questions which are about to be accepted, and of what older versions left.
SMALL_INDEXES = {
    "ix_turn_open_queue", "ix_turn_open_lease_owner", "ix_turn_joins", "ix_attachment_of_no_turn",
    "ix_turn_context_yet",
}  # fmt: skip
TOO_WIDE = {"surface", "scope"}  # what an index finds by these alone are all rows, or most
# These read the first entry of a scope, and the entries that they count.
MAY_BE_WIDE = {"seconds_to_next", "out_of_reach", "count", "waiting"}
ROWS = 2_000


@dataclass(frozen=True)
class Statement:
    """What was sent to the database; on SQLite the values are in the text already."""

    method: str
    text: str
    values: Any = None


@dataclass(frozen=True)
class Step:
    """A table that a plan reads: by which index, and which columns of it are given. No index: from end to end."""

    table: str
    index: str | None
    given: frozenset[str]


class Recorder:
    """Every statement that any connection is given while an operation of the store runs."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.method: str | None = None

    def note(self, text: str, values: Any = None) -> None:
        if self.method is not None and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text):
            self.statements.append(Statement(self.method, text, values))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what is sent on each connection that is made from now on, past SQLAlchemy too."""
        recorder = self

        class Cursor(psycopg.Cursor[Any]):
            def execute(self, query: Any, params: Any = None, **more: Any) -> Any:
                recorder.note(query if isinstance(query, str) else query.decode(), params)
                return super().execute(query, params, **more)

        def connect(connection: Any, _: object) -> None:
            if isinstance(connection, psycopg.Connection):
                connection.cursor_factory = Cursor
            else:
                connection.set_trace_callback(self.note)

        sa.event.listen(sa.Engine, "connect", connect)
        try:
            yield
        finally:
            sa.event.remove(sa.Engine, "connect", connect)


PASSWORDS = Passwords([Password("482913", "Eve", name="A_PASSWORD")])
GUESS = PASSWORDS.said("is it 111111?")
TOO_MANY = PASSWORDS.said(" ".join(map(str, range(200_000, 200_030))))


# ── what is asked ────────────────────────────────────────────────────────────────────────────────────────────────────


class Everything:
    """Calls each operation of the store, by its name, so that each of its statements is sent at least once."""

    def __init__(self, store: Store, recorder: Recorder) -> None:
        self._parts = {name: getattr(store, part) if part else store for part, name in operations()}
        self._recorder = recorder
        self._count = 0
        self.called: set[str] = set()

    def __getattr__(self, method: str) -> Callable[..., Any]:
        async def call(*values: Any, **more: Any) -> Any:
            self.called.add(method)
            self._recorder.method = method
            try:
                return await getattr(self._parts[method], method)(*values, **more)
            finally:
                self._recorder.method = None

        return call

    async def turn(self, session: str = "web:public:1", *, shown: bool = False, **more: Any) -> Turn:
        self._count += 1
        question = Question(
            SURFACE, session, f"Q{self._count}-a", event_id=f"a{self._count}", person="a person", place="a place",
            address="an address", destination={"to": "somewhere"} if shown else None, may_wait=False,
        )  # fmt: skip
        turn, _ = await self.accept(
            question, turn_id=f"t{self._count}", said=GUESS, opens=lambda _: None, max_waiting=1,
            choose=lambda *_: Chosen("Bob"), **more,
        )  # fmt: skip
        assert isinstance(turn, Turn)
        return turn

    async def asked(self, turn: Turn) -> Begun:
        def decide(state: object, transcript: Any) -> Plan:
            begins = 1 if state is None else None
            return Plan(begins=begins, catch_up=list(transcript(0)), context_tokens=0, costs=0)

        begun: Begun = await self.begin(turn, Beginning(decide, scope=SCOPE, lives_here=False, deadline=60.0))
        assert begun.plan is not None
        return begun

    async def run(self) -> None:
        await self.answers()
        await self._turns()
        await self._lines()
        await self._controls()
        await self._look_ups()
        await self._erase()
        await self._files()
        await self._why()
        await self._archive()
        await self._forget()
        await self.prune()

    async def _turns(self) -> None:
        first = await self.turn()
        await self.by_event(SURFACE, first.event_id)
        await self.by_id(first.id)
        await self.asked(first)
        await self.adopt(first, "c1", SCOPE)
        for attempts in (0, SUSPECTED_FROM):
            await self.take_up(replace(first, attempts=attempts))
        await self.note_prepared(first)
        await self.note_response("r1", "c1")
        await self.settle(first, 0, 1)
        await self.close_answered(first, Finished("A"), thread="synced", conversation_id="c1", response_id="r2")
        await self.close_answered(first, Finished("A"), thread="synced", again=True)
        second = await self.turn(shown=True)
        await self.asked(second)
        await self.note_posted(second, [{"id": "m1"}, {"id": "m2"}])
        await self.note_posted(second, [{"id": "m1"}])
        await self.note_posted(second, [])
        await self.is_recorded(second, "a message")
        await self.close_unanswered(second, Outcome.REFUSED, "No.", thread="retired")
        await self.close_shown(second, undeliverable="is_archived")
        await self.close_shown(second, undeliverable="is_archived", again=True)
        failed = await self.turn()
        await self.close_unanswered(failed, Outcome.FAILED, None, thread="retired")
        await self.turn(instead_of=failed.id)

    async def _lines(self) -> None:
        async def say(event: str, **more: Any) -> Any:
            line = Line("a place:a person", 1.0, 60.0)
            said = Question(SURFACE, f"web:{event}", event, event, "a person", destination={}, line=line, **more)
            return await self.accept(
                said, turn_id=event, said=PASSWORDS.said(event), opens=lambda _: None, max_waiting=1,
                choose=lambda *_: Chosen("Bob"),
            )  # fmt: skip

        turn, _ = await say("line1")
        assert await say("line2", gesture="a gesture") == "joined"
        app = Question(SURFACE, "web:app", "Q", "app1", "an app", destination={}, by_app=True)
        await self.accept(
            app, turn_id="app", said=PASSWORDS.said("Q"), opens=lambda _: None, max_waiting=1,
            choose=lambda *_: Chosen("Bob"),
        )  # fmt: skip
        await self.by_event(SURFACE, "line2")
        await self.seconds_to_join(turn)
        assert await self.end_joining(turn, at_once=False) is None
        assert await self.end_joining(turn, at_once=True) is not None
        assert await self.amend(turn, PASSWORDS.said("anew"), lambda _: None, "line1") == "amended"
        assert await self.withdraw("line1", "line1") == "shortened"

    async def _controls(self) -> None:
        turn = await self.turn("web:public:2")
        asked = Question(SURFACE, "web:public:2", "Q", person="a person")
        await self.read(asked, GUESS)
        with pytest.raises(PasswordsClosed):
            await self.read(asked, TOO_MANY)
        await self.are_passwords_closed()
        for _ in range(2):
            await self.unlock("a person", "a place", SURFACE, PASSWORDS.typed("482913"), seconds=60)
        await self.lock("a person", "a place")
        await self.choose("web:public:2", SURFACE, "Bob")
        await self.choose_in("a place", "Bob")
        assert await self.rate(turn.id, "a person", good=True, words="Thanks.")
        for before in (None, turn.id):
            await self.owned_by("alice")
            await self.newest(["a person", "another"], private=False, before=before, limit=21)
        claim = await self.claim_control(SURFACE, "a control")
        await self.end_control(SURFACE, "a control", claim, done=False)
        claim = await self.claim_control(SURFACE, "a control")
        await self.end_control(SURFACE, "a control", claim, done=True)
        await self.stop(turn.id)
        await self.withdraw(turn.id)
        await self.amend(turn, GUESS, lambda _: Chosen("Eve", "A_PASSWORD"))
        await self.release([turn.id])
        await self.heartbeat([SURFACE, "other"], {}.get, [])
        await self.heartbeat([SURFACE], {turn.id: 1}.get, ["t1", "t2"])
        await self.heartbeat([], {turn.id: 1}.get, [turn.id])
        await self.heartbeat([], {}.get, [])
        await self.passed(["t1", "t2"], [turn.id])
        await self.reset("web:public:2")
        await self.forget(ForgetRequest("session", "web:public:2", also_posted=True))

    async def _look_ups(self) -> None:
        turn = await self.turn("web:public:3")
        await self.open_turns_in("web:public:3")
        await self.open_turns_asked_by("a person")
        await self.showing(SURFACE, "m7")
        await self.before(turn)
        await self.people_before(turn)
        await self.starter("web:public:3")
        await self.engaged_by("web:public:3")
        await self.recent_sessions(SURFACE, "web:public:1", seconds=60, most=9)
        await self.known_events(SURFACE, ["a1", "e7"])
        await self.recent_controls(SURFACE, "a control", seconds=60)
        made = await self.issue("web:public:made", SURFACE)
        await self.summary(made.session)
        await self.summaries("web:public:1", after=None, limit=9)
        await self.summaries("web:public:1", after="web:public:1", limit=9)
        await self.exchanges("web:public:3", private=False, before=None, limit=9)
        await self.exchanges("web:public:3", private=True, before=9, limit=9)
        await self.add(ApiKey("k", "n", publishable=False, private=False, origins=(), created_at=0.0), "a digest")
        await self.by_digest("a digest")
        await self.all()
        await self.any()
        await self.is_publishable("n")
        await self.set_identity("n", "offered")
        await self.revoke("k")
        await self.add_identity_key("n.1", "n", most=2)
        await self.live_identity_key("n.1")
        await self.all_identity_keys()
        await self.retire_identity_keys("n.1")
        assert await self.claim_session("web:public:3", "web:n~1:3", "web:n~1") == "unknown"  # nobody issued it
        await self.issue("web:public:guest", SURFACE)
        await self.turn("web:public:guest")
        assert await self.claim_session("web:public:guest", "web:n~1:guest", "web:n~1") == "busy"
        await self.forget(ForgetRequest("session", "web:public:guest"))
        assert await self.claim_session("web:public:guest", "web:public:3", "web:n~1") == "taken"
        assert await self.claim_session("web:public:guest", "web:n~1:guest", "web:n~1") == "claimed"

    async def _why(self) -> None:
        turn = await self.turn("web:T1:1", shown=True)
        await self.note_posted(turn, [{"id": "m9"}])
        for _ in range(2):
            heard = Event(surface=SURFACE, event_id="h1", fate=Fate.COMMAND, session="web:T2:1", person="a person")
            await self.note_events([heard], {(SURFACE, 0.0, "not addressed", "no mention"): 2})
        for message in ("h1", "m9", str(turn.event_id), "unknown"):
            await self.of_message(SURFACE, message)
        await self.of_reference(turn.id)
        for since, until in ((None, None), (1.0, None), (None, 2e9), (1.0, 2e9)):
            await self.of_person(["a person", "another"], since, until, 9)
        await self.of_session(["web:T1:1", "web:T2:1"], 9)
        await self.takes_part(SURFACE, "1")
        await self.counted(0.0, 7_200.0)
        await self.forget(ForgetRequest("session", "web:T2:1"))

    async def _erase(self) -> None:
        due = await self.claim(SCOPE, seconds=60)
        assert due is not None
        await self.postpone(due.conversation_id)
        await self.done(due.conversation_id)
        await self.seconds_to_next(SCOPE)
        await self.out_of_reach(SCOPE)
        await self.count(SCOPE)

    async def _forget(self) -> None:
        somebody = "web:other:7"
        await self.count_what_would_go(ForgetRequest("person", somebody))
        await self.turns_of_person(somebody, 0, "")
        await self.turns_of_person(somebody, 1, "")
        await self.ratings_and_unlocks_of("p")
        await self.named_in(somebody, "")
        for asked in (
            ForgetRequest("person", somebody), ForgetRequest("before", "web:other", before=2e9 + 1),
            ForgetRequest("before", "", before=2e9 + 1), ForgetRequest("turn", "x1"),
        ):  # fmt: skip
            await self.count_what_would_go(asked)
            request_id = await self.ask_to_forget(asked)
            for step in ("forget_own", "look_through"):
                await getattr(self, step)(request_id)
            found = await self.look_through(request_id)
            await self.forget_found(request_id, found)
            await self.forget_some(request_id)
            await self.end_request(request_id, is_done=False)
            await self.due_requests()
            await self.carry_out(request_id)
        rules = Retention.read(["1"])
        await self.look_for_old(rules, rules.rules[0], None)
        await self.forget_old(["x5", "x6"])
        await self.ask_to_overwrite_log()
        await self.retain(rules, {})
        await self.is_any_due(SURFACE)
        due = await self.claim_takedown(SURFACE, seconds=0)
        await self.postpone_takedown(due.id if due else 1)
        await self.taken_down(due.id if due else 1)
        await self.waiting()

    async def _files(self) -> None:
        files = [Attachment(f"f{n}", "a.txt", "text", "text", 1, "sha", kept=1, tokens=1) for n in range(4)]
        for place, file in enumerate(files):
            assert await self.take_in("web:public:4", file, place, "text", FileLimits()) is None
            await self.add_piece(file.id, 0, b"1")
        await self.drop(["f0"])
        turn = await self.turn("web:public:4", attachments=files[1:3])
        await self.give(turn, ["f3"])
        await self.text_of("f1")
        await self.piece_of("f1", 0)
        await self.by_id(turn.id)
        await self.exchanges("web:public:4", private=False, before=None, limit=9)
        await self.attachment("web:public:4", "f1", private=False)
        await self.attachment("web:public:4", "f1", private=True)
        await self.asked(turn)
        await self.refuse(turn, ["f1"], "no")
        await self.close_answered(turn, Finished("A"), thread="synced", conversation_id=None)
        await self.asked(await self.turn("web:public:4"))
        await self.close_unanswered(await self.turn("web:public:5"), Outcome.REFUSED, "No.", thread="untouched")
        await self.forget(ForgetRequest("session", "web:public:4"))

    async def _archive(self) -> None:
        first = await self.listed_session("web:other:7")
        for newest_first in (True, False):
            for filters in (Filters(), Filters("web:other", "p1", 0.0, 9e9, Outcome.ANSWERED)):
                await self.page_of_sessions(filters, start=None, newest_first=newest_first)
                await self.page_of_sessions(filters, start=first, newest_first=newest_first)
        await self.closed_turns(first, after=0, limit=9)
        await self.last_turn("web:other:7")
        file = Attachment("f9", "a.txt", "text", "text", 1, "sha", kept=1, tokens=1)
        assert await self.take_back("web:imported:1", file, 0, "text")
        turn = ArchivedTurn(
            id="0" * 32, number=1, event_id="e9", assistant="Bob", outcome=Outcome.ANSWERED, accepted_at=1, closed_at=1,
            posted=[{"id": "m9"}], ratings=[ArchivedRating(person="p", good=True, at=1)],
        )  # fmt: skip
        session = ArchivedSession(name="web:imported:1", surface="web", created_at=1)
        for added in (1, 0):
            assert await self.add_turns([NewTurns(session, [NewTurn(turn, ["f9"])])]) == [added]
        await self.forget(ForgetRequest("session", "web:imported:1"))
        assert await self.forgotten_of([turn.imported]) == {turn.imported}
        assert await self.add_turns([NewTurns(session, [NewTurn(turn)])]) == [0]


FILL = [
    "INSERT INTO chat_session (name, surface, turns, begins, issued, created_at)"
    " SELECT 'web:other:' || n, CASE n & 1 WHEN 0 THEN 'web' ELSE 'slack' END, 1, 1, n & 2 = 0, n FROM n",
    "INSERT INTO turn (id, session_id, number, surface, event_id, person, question, assistant, private, outcome,"
    " fencing_token, attempts, stop, accepted_at, closed_at)"
    " SELECT 'x' || id, id, 1, surface, 'e' || id, 'p' || (id & 7), 'Q', 'Bob', FALSE, 'answered', 1, 0, FALSE, id,"
    " 2000000000 FROM chat_session",
    "INSERT INTO thread (session_id, assistant, private, scope, conversation_id, begins, synced, in_doubt, tokens)"
    " SELECT id, 'Bob', FALSE, 'a scope', 'x' || id, 1, 1, FALSE, 0 FROM chat_session",
    "INSERT INTO joined_event SELECT surface, 'j' || session_id, id FROM turn",
    "INSERT INTO posted_message SELECT surface, 'm' || session_id, id FROM turn",
    "INSERT INTO feedback SELECT id, 'p', TRUE, 0, NULL FROM turn",
    "INSERT INTO control SELECT surface, id, 2000000000, TRUE FROM turn",
    "INSERT INTO guess (subject, at, words) SELECT id, 2000000000, 1 FROM turn",
    "INSERT INTO lockout SELECT id, 3000000000 FROM turn",
    "INSERT INTO unlock SELECT id, surface, 'Bob', 3000000000 FROM turn",
    "INSERT INTO stored_response SELECT 'r' || id, id FROM turn",
    "INSERT INTO attachment (id, session, turn_id, place, name, kind, form, size, sha256, about, media_type, kept,"
    " tokens, text_tokens, bytes_in_all, taken_at) SELECT 'x' || id, 'web:other:' || id, id, 0, 'a', 'text', 'text', 1,"
    " 's', '', '', 1, 1, 1, 1, 1 FROM turn",
    "INSERT INTO attachment_piece SELECT id, 0, 'a' FROM attachment",
    "INSERT INTO heard_event (surface, event_id, fate, why, session, person, at, times)"
    " SELECT surface, 'h' || session_id, 'command', '', 'web:other:' || id, 'p' || id, 2000000000, 1 FROM turn",
    "INSERT INTO event_count SELECT 3600.0 * session_id, surface, 'not addressed', 'no mention', 1 FROM turn",
    "INSERT INTO erasure SELECT id, 'a scope', 2000000000, 0 FROM turn",
    "INSERT INTO takedown (surface, message, due_at, attempts) SELECT surface, '{}', 0, 0 FROM turn",
]


def fill(url: str) -> None:
    """Let there be so much of everything that no database prefers to read it all."""
    numbers = f"WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {ROWS})"
    with connected(url) as connection:
        for statement in FILL:
            head, _, rest = statement.partition(" SELECT ")
            text = f"{head} {numbers} SELECT {rest}" if statement.endswith("FROM n") else statement
            connection.exec_driver_sql(text)
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("ANALYZE")


# ── how it is answered ───────────────────────────────────────────────────────────────────────────────────────────────


def plan_on_sqlite(connection: sa.Connection, statement: Statement) -> tuple[list[Step], list[str]]:
    found = connection.connection.dbapi_connection.execute(f"EXPLAIN QUERY PLAN {statement.text}").fetchall()  # type: ignore[union-attr]
    lines = [str(row[-1]) for row in found]
    aliases = re.findall(r"\b(?:FROM|JOIN) (\w+) AS (\w+)", statement.text)
    tables = {alias: table for table, alias in aliases}
    steps = []
    for line in lines:
        if read := re.match(r"(SCAN|SEARCH) (\w+)(?: USING (?:COVERING )?(?:INDEX (\w+)|INTEGER PRIMARY KEY))?", line):
            given = re.search(r" \((.*)\)", line) if read[1] == "SEARCH" else None
            columns = re.findall(r"(\w+)[=<>]", given[1]) if given else []
            steps.append(Step(tables.get(str(read[2]), str(read[2])), read[3], frozenset(columns)))
    return steps, lines


def plan_on_postgresql(connection: sa.Connection, statement: Statement) -> tuple[list[Step], list[str]]:
    driver: Any = connection.connection.dbapi_connection
    with psycopg.ClientCursor(driver) as cursor:
        told: Any = cursor.execute(f"EXPLAIN (FORMAT JSON) {statement.text}", statement.values).fetchone()
    steps: list[Step] = []
    lines: list[str] = []

    def walk(node: dict[str, Any], table: str | None = None) -> None:
        table = node.get("Relation Name", table)
        condition = node.get("Index Cond", "")
        lines.append(
            " ".join(str(node.get(key, "")) for key in ("Node Type", "Relation Name", "Index Name", "Index Cond"))
        )
        if "Index Name" in node and table is not None:
            columns = re.sub(r"'[^']*'", "", condition)
            steps.append(Step(table, node["Index Name"], frozenset(re.findall(r"\b[a-z_]+\b", columns))))
        elif node["Node Type"] in ("Seq Scan", "Tid Scan"):
            steps.append(Step(node["Relation Name"], None, frozenset()))
        for inner in node.get("Plans", ()):
            walk(inner, table)

    walk(told[0][0]["Plan"])
    return steps, lines


def looks_through(step: Step, columns: set[str], *, may_be_wide: bool) -> bool:
    """Whether this reads a table that grows, or most of it."""
    if step.table not in GROWING or step.index in SMALL_INDEXES:
        return False
    return not (step.given & columns) - (set() if may_be_wide else TOO_WIDE)


def faults(url: str, statements: Sequence[Statement]) -> list[str]:
    engine = new_engine(url)
    found: dict[str, None] = {}
    with engine.connect() as connection:
        inspector = sa.inspect(connection)
        columns = {table: {"rowid", *(each["name"] for each in inspector.get_columns(table))} for table in GROWING}
        is_sqlite = connection.dialect.name == "sqlite"
        if not is_sqlite:
            for way in ("seqscan", "hashjoin", "mergejoin"):  # which are cheaper while there are few rows
                connection.exec_driver_sql(f"SET enable_{way} = off")
        for statement in statements:
            steps, lines = (plan_on_sqlite if is_sqlite else plan_on_postgresql)(connection, statement)
            wide = statement.method in MAY_BE_WIDE
            bad = [each for each in steps if looks_through(each, columns.get(each.table, set()), may_be_wide=wide)]
            if bad:
                found["\n  ".join((f"{statement.method}: {statement.text}", *map(str, bad), *lines))] = None
            if re.search(r"\bI?LIKE\b", statement.text):
                found[f"{statement.method}: LIKE knows case here and not there: {statement.text}"] = None
    engine.dispose()
    return list(found)


async def test_no_statement_of_the_store_looks_through_a_table_that_grows(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "RECONNECT_SECONDS", 0.0)
    recorder = Recorder()
    with recorder.listening():
        async with Store.open(database_url, on_notification=lambda _: None, lease_seconds=60, erase_after=0.0) as store:
            fill(database_url)
            everything = Everything(store, recorder)
            await everything.run()
    assert everything.called == {name for _, name in operations()}
    assert {each.method for each in recorder.statements} == {name for _, name in operations()}
    found = faults(database_url, recorder.statements)
    assert not found, "\n\n" + "\n\n".join(found)


async def test_whoever_looks_how_a_database_fares_looks_through_no_table_that_grows(database_url: str) -> None:
    async with Store.open(database_url, on_notification=lambda _: None, lease_seconds=60, erase_after=0.0):
        fill(database_url)
    recorder = Recorder()
    with recorder.listening():
        recorder.method = "condition_of"
        condition_of(database_url, scope=SCOPE, seconds=20.0)
        recorder.method = None
    statements = [
        replace(each, method="out_of_reach") if "erasure" in each.text else each for each in recorder.statements
    ]
    assert {"turn", "erasure", "lease_owner"} <= {each for each in GROWING | SMALL for sent in statements
                                                  if re.search(rf"\b{each}\b", sent.text)}  # fmt: skip
    found = faults(database_url, statements)
    assert not found, "\n\n" + "\n\n".join(found)


def test_each_table_either_grows_or_is_small(database_url: str) -> None:
    with connected(database_url) as connection:
        migrate(connection.engine)
        assert set(sa.inspect(connection).get_table_names()) == GROWING | SMALL


async def test_a_statement_without_an_index_is_found(database_url: str) -> None:
    """The rule itself can fail."""
    async with Store.open(database_url, on_notification=lambda _: None, lease_seconds=60, erase_after=0.0):
        fill(database_url)
    for text in (
        "SELECT id FROM turn WHERE posted = 'x'",
        "SELECT id FROM turn WHERE surface = 'web' AND assistant = 'x'",
        "SELECT id FROM chat_session ORDER BY id DESC LIMIT 3",
        "SELECT name FROM chat_session WHERE name LIKE 'web:%'",
        "SELECT count(*) FROM guess",
        "DELETE FROM erasure WHERE scope = 'x' AND attempts = 1",
        "UPDATE thread SET synced = 1 WHERE scope = 'x'",
    ):
        assert faults(database_url, [Statement("some", text)]), text
    assert not faults(database_url, [Statement("some", "SELECT id FROM turn WHERE id = 'x'")])
