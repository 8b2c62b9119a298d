"""The store: every query there is. One method is one transaction, run off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import sqlalchemy as sa

from core.errors import NoPrivateHere, NotAccepted, Overloaded, PasswordsClosed, StartError, StoreUnavailable
from core.password import Reading, Said
from core.store.archive import Archive
from core.store.clock import Clock
from core.store.database import SECONDS_TO_SAY_GOODBYE, Database, DatabaseURLError, open_database, sqlite_path
from core.store.erasures import DueErasure, Erasures
from core.store.guesses import Guesses, budgets_of
from core.store.keys import Keys
from core.store.ledger import Begun, Chosen, Decide, EventKnown, Ledger, Plan, ThreadState, Transcript
from core.store.liveness import HostLiveness, OnNotification, ServerLiveness
from core.store.migrations import SchemaTooNew, migrate
from core.store.places import Places
from core.turns import ApiKey, Exchange, Finished, Outcome, Question, SessionSummary, Turn

__all__ = [
    "Amended",
    "Begun",
    "Chosen",
    "DatabaseURLError",
    "DueErasure",
    "Heartbeat",
    "Plan",
    "SchemaTooNew",
    "Store",
    "ThreadFate",
    "ThreadState",
    "Transcript",
]  # fmt: skip

_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'")

# What becomes of a thread when its turn closes: it contains the turn, it is thrown away, or nothing happened to it.
ThreadFate = Literal["synced", "retired", "untouched"]
Amended = Literal["amended", "unread", "too late"]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat found: turns reclaimed, turns of ours to be stopped, and turns lost to others."""

    reclaimed: Sequence[Turn]
    stopped: Collection[str]
    lost: Collection[str]


class Store:
    """Sessions, turns and threads in one database.

    Each method raises StoreUnavailable where the database fails; then nothing was changed. A method that takes a turn
    raises LeaseLost where another process has the lease by now.
    """

    def __init__(self, database: Database, *, lease_seconds: float, erase_after: float) -> None:
        clock = Clock(database.dialect)
        self._db = database
        self._lease_seconds = lease_seconds
        self._erase_after = erase_after
        self._liveness: HostLiveness | ServerLiveness
        if database.dialect == "sqlite":
            self._liveness = HostLiveness(sqlite_path(database.engine.url), clock)
        else:
            self._liveness = ServerLiveness(database.engine.url, clock)
        self._ledger = Ledger(database.engine.dialect, clock, self._liveness.lease_owner)
        self._guesses = Guesses(database.dialect, clock)
        self._erasures = Erasures(database.engine.dialect, clock)
        self._places = Places(database.dialect, clock)
        self._archive = Archive(database.dialect, clock)
        self._keys = Keys(clock)
        self.is_notified = database.dialect == "postgresql"
        self.description = "SQLite" if database.dialect == "sqlite" else "PostgreSQL"

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, url: str, *, on_notification: OnNotification, lease_seconds: float, erase_after: float
    ) -> AsyncIterator[Store]:
        """Open the database at `url`, bring its schema up to date, and come alive as an owner of leases.

        `hear` is called in the event loop with what other processes say. Raises StartError.
        """
        database = open_database(url)
        try:
            await asyncio.to_thread(_bring_up_to_date, database)
            store = cls(database, lease_seconds=lease_seconds, erase_after=erase_after)
            await store._liveness.start(on_notification)
            try:
                await store._db.write(lambda c: store._liveness.heartbeat(c, lease_seconds))
                yield store
                with contextlib.suppress(StoreUnavailable, TimeoutError):  # else it is found that we are gone
                    async with asyncio.timeout(SECONDS_TO_SAY_GOODBYE):
                        await store._db.heartbeat(store._liveness.leave, changes_turns=True)
            finally:
                await store._liveness.close()
        finally:
            await asyncio.to_thread(database.close)

    async def answers(self) -> None:
        """Come back if the database takes writes; raise StoreUnavailable if not.

        Something is really written: a full disk takes commits as long as they change nothing.
        """
        await self._db.write(lambda c: self._liveness.write(c, self._lease_seconds))

    # ── accepting ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def accept(
        self,
        question: Question,
        *,
        turn_id: str,
        said: Said,
        opens: Callable[[Reading], Chosen | None],
        choose: Callable[[str | None, str | None], Chosen],
        max_waiting: int,
        instead_of: str | None = None,
    ) -> Turn | None:
        """Make a question durable as a turn of its session. None means that its event was accepted before.

        `said` is its text, and `opens` tells which private assistant a reading of it opens. `choose` says who answers
        otherwise, given whom the person unlocked in the place, and the session's or else the place's choice.
        `instead_of` is a failed turn of the same event, to be asked anew. What cannot be read is a turn of which
        nothing is kept, where it has a `destination`.
        Raises Overloaded, and PasswordsClosed and NoPrivateHere where nobody would see the turn.
        """

        def work(c: sa.Connection) -> Turn | NotAccepted:
            if instead_of is not None:  # what counts in it did so when it was asked first
                reading: Reading | float = said.read()
            elif (
                said.candidates and question.event_id and self._ledger.by_event(c, question.surface, question.event_id)
            ):
                raise EventKnown
            else:
                reading = self._guesses.read(c, budgets_of(question), said)
            text, chosen = "", None
            if isinstance(reading, Reading):
                text, chosen = reading.text, opens(reading)
            elif question.destination is None:
                return PasswordsClosed(retry_after=math.ceil(reading))
            if chosen is not None and not question.may_unlock:
                return NoPrivateHere()
            unlocked, lapsed, by_place = None, None, None
            if question.place is not None and chosen is None:
                by_place = self._places.assistant_of(c, question.place)
                if isinstance(reading, Reading):
                    unlocked, lapsed = self._places.unlocked(c, question.person, question.place)
            if instead_of is not None:
                self._ledger.set_aside(c, instead_of)
            try:
                with c.begin_nested() if said.candidates else contextlib.nullcontext():
                    return self._ledger.accept(
                        c, question, turn_id=turn_id, text=text, max_waiting=max_waiting,
                        said_password=chosen is not None, unread=not isinstance(reading, Reading),
                        lapsed=lapsed, choose=lambda by_session: chosen or choose(unlocked, by_session or by_place),
                    )  # fmt: skip
            except Overloaded as full:
                if not said.candidates:
                    raise
                return full  # what counts has to count, also where there is no room

        try:
            accepted = await self._db.write(work, in_order_of=question.session)
        except EventKnown:
            return None
        if isinstance(accepted, Turn):
            return accepted
        raise accepted

    async def read(self, said_by: Question, said: Said) -> Reading:
        """Read a text, and count the wrong candidates in it. Raises PasswordsClosed."""
        budgets = budgets_of(said_by)
        reading = await self._db.write(lambda c: self._guesses.read(c, budgets, said))
        if isinstance(reading, Reading):
            return reading
        raise PasswordsClosed(retry_after=math.ceil(reading))

    async def are_passwords_closed(self) -> bool:
        """Whether any text was not read within the last hour, since too many words in it might have been passwords."""
        return await self._db.read(self._guesses.are_closed_somewhere)

    async def by_event(self, surface: str, event_id: str) -> Turn | None:
        """The turn that this event became, if it was accepted."""
        return await self._db.read(lambda c: self._ledger.by_event(c, surface, event_id))

    async def by_id(self, turn_id: str) -> Turn | None:
        """The turn with this id, if there is one."""
        return await self._db.read(lambda c: self._ledger.by_id(c, turn_id))

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(
        self,
        turn: Turn,
        *,
        decide: Decide,
        scope: str,
        lives_here: bool,
        deadline: float,
    ) -> Begun | None:
        """Begin to ask a turn, or None while an earlier one of its session is open. See `Ledger.begin`."""
        return await self._db.write(
            lambda c: self._ledger.begin(
                c, turn, decide=decide, scope=scope, lives_here=lives_here, deadline=deadline,
                erase_after=self._erase_after,
            )
        )  # fmt: skip

    async def adopt(self, turn: Turn, conversation_id: str, scope: str) -> None:
        """Record a new, empty conversation as the turn's thread, and that it is about to be written to."""
        await self._db.write(
            lambda c: self._ledger.adopt(c, turn, conversation_id, scope, erase_after=self._erase_after)
        )

    async def note_prepared(self, turn: Turn) -> None:
        """Store the turn's question and context as they are now, without any password."""
        await self._db.write(lambda c: self._ledger.note_prepared(c, turn))

    def note_response(self, response_id: str, conversation_id: str) -> asyncio.Future[None]:
        """Record that the provider keeps this response beside the conversation."""
        return self._db.write(lambda c: self._erasures.note_response(c, response_id, conversation_id))

    async def settle(self, turn: Turn, synced: int | None, tokens: int) -> None:
        """Clear the doubt about the turn's thread: it has everything up to `synced`, and nothing of this turn."""
        await self._db.write(lambda c: self._ledger.settle(c, turn, synced, tokens))

    # ── closing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def close_answered(
        self,
        turn: Turn,
        finished: Finished,
        *,
        thread: ThreadFate,
        conversation_id: str | None = None,
        response_id: str | None = None,
        again: bool = False,
    ) -> None:
        """Store the answer, and close the turn unless it has a `destination` and is still to be shown.

        `conversation_id` is the thread it is in where `thread` is "told"; `response_id` is kept beside it and not noted
        yet. `again`: this lease may have done so before; then that stands.
        """

        def work(c: sa.Connection) -> None:
            if not self._ledger.close_answered(c, turn, finished, again=again):
                return
            if response_id is not None and conversation_id is not None:
                self._erasures.note_response(c, response_id, conversation_id)
            if thread == "synced":
                self._ledger.mark_synced(c, turn, finished, conversation_id)
            elif thread == "retired":
                self._retire(c, turn)

        await self._db.write(work)

    async def close_unanswered(
        self, turn: Turn, outcome: Outcome, sentence: str | None, *, thread: ThreadFate, again: bool = False
    ) -> None:
        """Record why there is no answer; `sentence` is what the person is told. It closes as with `close_answered`."""

        def work(c: sa.Connection) -> None:
            if outcome is Outcome.REFUSED:
                self._ledger.blank(c, turn)
            if self._ledger.close_unanswered(c, turn, outcome, sentence, again=again) and thread == "retired":
                self._retire(c, turn)

        await self._db.write(work)

    async def note_posted(self, turn: Turn, posted: Sequence[Mapping[str, Any]]) -> None:
        """Record the messages that show the turn's answer."""
        await self._db.write(lambda c: self._ledger.note_posted(c, turn, posted))

    async def close_shown(self, turn: Turn, *, undeliverable: bool, again: bool = False) -> None:
        """Close a turn whose answer is stored: it was shown, or cannot be. `again`: as with `close_answered`."""
        await self._db.write(lambda c: self._ledger.close_shown(c, turn, undeliverable=undeliverable, again=again))

    # ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def stop(self, turn_id: str) -> bool:
        """Mark a turn to be stopped. False where it is closed or unknown."""
        return await self._db.write(lambda c: self._ledger.stop(c, turn_id))

    async def amend(self, turn: Turn, said: Said, opens: Callable[[Reading], Chosen | None]) -> Amended:
        """Let a turn that is not answered yet ask another text, and let go of it.

        `opens` tells which private assistant a reading of it opens, whose the turn is then.
        """

        def work(c: sa.Connection) -> Amended:
            if not self._ledger.may_be_amended(c, turn):
                return "too late"
            reading = self._guesses.read(c, budgets_of(turn), said)
            is_read = isinstance(reading, Reading)
            text, opened = (reading.text, opens(reading)) if isinstance(reading, Reading) else ("", None)
            if not self._ledger.amend(c, turn, text, unread=not is_read, opened=opened, erase_after=self._erase_after):
                return "too late"
            return "amended" if is_read else "unread"

        return await self._db.write(work)

    async def reset(self, session: str) -> bool:
        """Begin the session's visible transcript at its next turn. False where there is no such session."""
        return await self._db.write(lambda c: self._ledger.reset(c, session, erase_after=self._erase_after))

    async def forget(self, session: str) -> Sequence[str] | None:
        """Blank everything that was said in a session; the turns that ended by it. None if there is no such session."""
        ended = await self._db.write(lambda c: self._ledger.forget(c, session, erase_after=self._erase_after))
        if ended is not None:
            await asyncio.to_thread(self._db.overwrite_log)
        return ended

    async def choose(self, session: str, surface: str, assistant: str) -> None:
        """Let `assistant` answer in this session from the next question on."""
        await self._db.write(lambda c: self._ledger.choose(c, session, surface, assistant))

    async def choose_in(self, place: str, assistant: str) -> None:
        """Let `assistant` answer in the sessions of this place from now on."""
        await self._db.write(lambda c: self._places.choose(c, place, assistant))

    async def unlock(self, person: str, place: str, surface: str, said: Said, *, seconds: float) -> str | None:
        """Let the private assistant that a typed password opens answer this person in this place for `seconds`.

        Gives its name; None where it opens nothing. Raises PasswordsClosed.
        """
        budgets = budgets_of(Question(surface, place, "", person=person))

        def work(c: sa.Connection) -> Reading | float:
            reading = self._guesses.read(c, budgets, said)
            if isinstance(reading, Reading) and reading.opens is not None:
                self._places.unlock(c, person, place, reading.opens, seconds=seconds)
            return reading

        reading = await self._db.write(work)
        if isinstance(reading, Reading):
            return reading.opens
        raise PasswordsClosed(retry_after=math.ceil(reading))

    async def lock(self, person: str, place: str) -> bool:
        """Take back what this person unlocked here. False where there was nothing."""
        return await self._db.write(lambda c: self._places.lock(c, person, place))

    async def rate(self, turn_id: str, person: str, *, good: bool) -> None:
        """Record what a person thinks of an answer."""
        await self._db.write(lambda c: self._places.rate(c, turn_id, person, good=good))

    async def claim_control(self, surface: str, event_id: str) -> float | None:
        """Our claim to carry out this control; None where somebody has, or is about to."""
        return await self._db.write(lambda c: self._places.claim_control(c, surface, event_id))

    async def end_control(self, surface: str, event_id: str, claim: float, *, done: bool) -> None:
        """Record that a claimed control was carried out, or that it was not and anybody may."""
        await self._db.write(lambda c: self._places.end_control(c, surface, event_id, claim, done=done))

    # ── looking ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def open_turns_in(self, session: str) -> list[Turn]:
        """The open turns of a session, in order."""
        return await self._db.read(lambda c: self._ledger.open_turns_in(c, session))

    async def open_turns_asked_by(self, person: str) -> list[Turn]:
        """The open turns of a person, in whatever sessions."""
        return await self._db.read(lambda c: self._ledger.open_turns_asked_by(c, person))

    async def showing(self, surface: str, message: str) -> Turn | None:
        """The turn whose answer is shown by this message (the "id" of a part of `Turn.posted`), if any."""
        return await self._db.read(lambda c: self._ledger.showing(c, surface, message))

    async def is_recorded(self, turn: Turn, message: str) -> bool:
        """Whether some turn is known to be shown by this message, which was posted after `turn` was asked."""
        return await self._db.read(lambda c: self._ledger.is_recorded(c, turn, message))

    async def before(self, turn: Turn) -> Turn | None:
        """The turn before this one in its session."""
        return await self._db.read(lambda c: self._ledger.before(c, turn))

    async def starter(self, session: str) -> str | None:
        """The person whose question a session began with."""
        return await self._db.read(lambda c: self._ledger.starter(c, session))

    async def engaged_by(self, session: str) -> Turn | None:
        """The first turn with which an assistant takes part in this session."""
        return await self._db.read(lambda c: self._ledger.engaged_by(c, session))

    async def recent_sessions(self, surface: str, prefix: str, *, seconds: float, most: int) -> Sequence[str]:
        """The sessions whose name begins so, with a turn within the last `seconds`, those asked in last first."""
        return await self._db.read(lambda c: self._ledger.recent_sessions(c, surface, prefix, seconds, most))

    async def known_events(self, surface: str, event_ids: Collection[str]) -> set[str]:
        """Those of these events that became turns or controls."""

        def look(c: sa.Connection) -> set[str]:
            return self._ledger.known_events(c, surface, event_ids) | self._places.controls(c, surface, event_ids)

        return await self._db.read(look)

    # ── looking up, for people ───────────────────────────────────────────────────────────────────────────────────────

    async def issue_session(self, session: str, surface: str) -> SessionSummary:
        """Make a session with a name that nobody can guess."""
        return await self._db.write(lambda c: self._archive.issue(c, session, surface))

    async def session(self, session: str) -> SessionSummary | None:
        """What is known of a session; None where there is none, or it was forgotten."""
        return await self._db.read(lambda c: self._archive.summary(c, session))

    async def sessions(self, prefix: str, *, after: str | None, limit: int) -> Sequence[SessionSummary]:
        """The sessions whose name begins so, the newest first, from after the one with the name `after`."""
        return await self._db.read(lambda c: self._archive.summaries(c, prefix, after=after, limit=limit))

    async def exchanges(self, session: str, *, private: bool, before: int | None, limit: int) -> Sequence[Exchange]:
        """The last turns of a session since it was reset, in order. See `Archive.exchanges`."""
        return await self._db.read(
            lambda c: self._archive.exchanges(c, session, private=private, before=before, limit=limit)
        )

    # ── keys of the web API ──────────────────────────────────────────────────────────────────────────────────────────

    async def add_key(self, key: ApiKey, digest: str) -> bool:
        """Store a key by its digest. False where there is one of that name already."""
        return await self._db.write(lambda c: self._keys.add(c, key, digest))

    async def key_with(self, digest: str) -> ApiKey | None:
        """The key with this digest, unless it was revoked."""
        return await self._db.read(lambda c: self._keys.by_digest(c, digest))

    async def keys(self) -> Sequence[ApiKey]:
        """Every key that was ever made, the oldest first."""
        return await self._db.read(self._keys.all)

    async def has_keys(self) -> bool:
        """Whether a key was ever made."""
        return await self._db.read(self._keys.any)

    async def revoke_key(self, which: str) -> Sequence[ApiKey]:
        """Revoke the keys with this id or name; those that were not revoked yet."""
        return await self._db.write(lambda c: self._keys.revoke(c, which))

    # ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def heartbeat(
        self, surfaces: Collection[str], in_flight: Collection[str], running: Collection[str]
    ) -> Heartbeat:
        """Renew our leases, and reclaim what is orphaned on `surfaces`, or what is ours but not `in_flight`.

        `running` are the turns of which we believe to have the lease. To be called every second or so.
        """
        lease_owner = self._liveness.lease_owner

        def look(c: sa.Connection) -> tuple[set[str], list[str], list[str], list[str], bool]:
            self._liveness.heartbeat(c, self._lease_seconds)
            found = self._ledger.lease_owners(c, surfaces)
            others = {other for other in found if other is not None and other != lease_owner}
            expired = self._liveness.expired(c, others) if others else set()
            mine = self._ledger.open_turns_of(c, lease_owner)
            stranded = [row.id for row in mine if row.id not in in_flight]
            missing = set(running) - {row.id for row in mine}
            lost = self._ledger.lost(c, missing, lease_owner) if missing else []
            return expired, stranded, [row.id for row in mine if row.stop], lost, None in found

        expired, stranded, stopped, lost, released = await self._db.heartbeat(look)
        reclaimed: Sequence[Turn] = ()
        if surfaces and (expired or stranded or released):
            reclaimed = await self._db.heartbeat(
                lambda c: self._ledger.reclaim(c, surfaces, expired=expired, stranded=stranded), changes_turns=True
            )
        return Heartbeat(reclaimed, stopped, lost)

    async def passed(
        self, followed: Collection[str], waiting: Collection[str]
    ) -> tuple[Sequence[Turn], Collection[str]]:
        """Those `followed` turns that are over, and which of those `waiting` have no open turn before them any more."""
        return await self._db.read(
            lambda c: (self._ledger.over(c, followed), self._ledger.first_in_queue(c, waiting) if waiting else ())
        )

    async def release(self, turn_ids: Collection[str]) -> None:
        """Let go of these turns, for any process of their surfaces to take."""
        await self._db.write(lambda c: self._ledger.release(c, turn_ids))

    async def prune(self) -> None:
        """Forget the keys of turns that were closed a week ago, guesses that count no more, and sessions never used.

        That is done some at a time, for others to write between.
        """
        for prune in (self._ledger.prune, self._guesses.prune, self._places.prune, self._archive.prune):
            while await self._db.write(prune):
                pass

    # ── erasing ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim_erasure(self, scope: str, *, seconds: float) -> DueErasure | None:
        """The next conversation to erase under `scope`; nobody else gets it for `seconds`."""
        return await self._db.write(lambda c: self._erasures.claim(c, scope, seconds=seconds))

    async def erased(self, conversation_id: str) -> None:
        """Record that nothing of the conversation is left at the provider."""
        await self._db.write(lambda c: self._erasures.done(c, conversation_id))

    async def postpone_erasure(self, conversation_id: str) -> None:
        """Try to erase the conversation later."""
        await self._db.write(lambda c: self._erasures.postpone(c, conversation_id))

    async def seconds_to_next_erasure(self, scope: str) -> float | None:
        """When the next erasure under `scope` is due; None where there is none."""
        return await self._db.read(lambda c: self._erasures.seconds_to_next(c, scope))

    async def erasures_out_of_reach(self, scope: str) -> int:
        """How many conversations cannot be erased, since their key or server is not the present one."""
        return await self._db.read(lambda c: self._erasures.out_of_reach(c, scope))

    def _retire(self, connection: sa.Connection, turn: Turn) -> None:
        self._ledger.retire(connection, turn.session_id, turn.assistant, erase_after=self._erase_after)


def _bring_up_to_date(database: Database) -> None:
    try:
        migrate(database.engine)
    except sa.exc.DBAPIError as error:
        reason = _QUOTED.sub("…", str(error.orig).strip().partition("\n")[0])  # it quotes pieces of the URL
        raise StartError(f"The database at DATABASE_URL does not answer as it should: {reason}") from error
