"""Forgetting: what a request or its age says is erased, some at a time, and nothing of it is in any file afterwards.

A request is on disk before anything is erased, so whoever starts next goes on where a process died. Its last steps are
two: once nothing is left in any table it says no more whom it was about, and once SQLite's log is overwritten too it
goes itself.

What is left of a forgotten turn is its place in the session, its times, and a digest of its event, so that nothing
comes back with a message that is delivered again.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa

from core.forgetting import ForgetRequest, Forgotten, Retention, Rule, is_in
from core.store.attachments import Attachments
from core.store.database import Database
from core.store.events import Events
from core.store.named import Named
from core.store.names import begins_with
from core.store.part import Part, reads, writes
from core.store.rows import IS_KEPT, IS_OPEN, as_forgotten, joined_events, sessions, turns
from core.store.tables import Feedback, PostedMessage, Unlock
from core.store.tables import ForgetRequest as ForgetRequestTable
from core.store.takedowns import Takedowns
from core.store.threads import StoredThreads, threads
from core.turns import Json, Outcome

feedback: sa.Table = Feedback.__table__  # type: ignore[attr-defined]
posted_messages: sa.Table = PostedMessage.__table__  # type: ignore[attr-defined]
unlocks: sa.Table = Unlock.__table__  # type: ignore[attr-defined]
requests: sa.Table = ForgetRequestTable.__table__  # type: ignore[attr-defined]

TURNS_AT_ONCE = 200
FILES_AT_ONCE = 8  # of up to 20 MB each
LOOKED_AT_AT_ONCE = 500
MOST_OWN_FRAMES = 50
SECONDS_TO_WORK = 60.0  # until another process takes a request for left behind
SECONDS_TO_WAIT = 5.0

OnEnded = Callable[[Sequence[str]], None]

FIRST = (0.0, "")  # what comes before every turn, by when it was closed
_NAMELESS = "forgotten:"
_OF_TURNS = "turn.closed_at IS NOT NULL AND turn.outcome <> 'forgotten'"  # as the index says it
_COLUMNS = tuple(
    turns.c[name] for name in ("id", "session_id", "surface", "event_id", "closed_at", "destination", "posted", "files")
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one commit erased, and whether it was the last of its request."""

    forgotten: Forgotten = field(default_factory=Forgotten)
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """Turns that a look through many found, and where the next look begins, as it is stored; None: that was all.

    `waits`: one that is meant is open.
    """

    turn_ids: Sequence[str] = ()
    next: str | None = None
    waits: bool = False


class Forgetting(Part):
    """What is erased for good."""

    def __init__(
        self, database: Database, threads: StoredThreads, attachments: Attachments, takedowns: Takedowns,
        events: Events,
    ) -> None:  # fmt: skip
        super().__init__(database)
        self._threads = threads
        self._attachments = attachments
        self._takedowns = takedowns
        self._events = events

    # ── what somebody asks for ───────────────────────────────────────────────────────────────────────────────────────

    async def forget(self, request: ForgetRequest, on_ended: OnEnded = lambda _: None) -> Forgotten | None:
        """Forget what is asked for. None where there is no such session, or closed turn.

        `on_ended` hears at once of the open turns that ended by it.
        """
        request_id = await self.ask_to_forget(request)
        return None if request_id is None else await self.carry_out(request_id, on_ended)

    @writes
    def ask_to_forget(self, connection: sa.Connection, request: ForgetRequest, *, at_once: bool = True) -> str | None:
        """Put a request on disk; its id. None where there is no such session, or closed turn.

        Whoever asks carries it out `at_once`, or leaves it to whoever looks first.
        """
        about, names = request.about, ""
        if request.kind == "session":  # by its id: what is asked in a session of this name later is not meant
            found = connection.execute(sa.select(sessions.c.id).where(sessions.c.name == about)).scalar()
            self._events.forget_session(connection, about)
            about = "" if found is None else str(found)
        elif request.kind == "turn":
            closed = sa.select(turns.c.id).where(turns.c.id == about, turns.c.closed_at.is_not(None), IS_KEPT)
            about = connection.execute(closed).scalar() or ""
        elif request.kind == "person":
            names = json.dumps(self._names_of(connection, about))
        if not about and request.kind != "before":
            return None
        return self._add_request(
            connection, kind=request.kind, about=about, names=names, before=request.before,
            also_posted=request.also_posted, seconds=SECONDS_TO_WORK if at_once else 0.0,
        )  # fmt: skip

    async def carry_out(self, request_id: str, on_ended: OnEnded = lambda _: None) -> Forgotten:
        """Go on with a request until it is done, or has to wait."""
        total = Forgotten()
        while True:
            step = await self.forget_some(request_id)
            on_ended(step.forgotten.ended)
            total += step.forgotten
            if step.is_last or step.forgotten.waits_for_answers:
                break
        if step.is_last and not await self._overwrite_log(request_id):
            total += Forgotten(waits_for_readers=True)
        return total

    @reads
    def due_requests(self, connection: sa.Connection) -> Sequence[str]:
        """The requests that nobody is at work on."""
        due = sa.select(requests.c.id).where(requests.c.due_at <= self._clock.now)
        return connection.execute(due, self._clock.params()).scalars().all()

    async def forget_some(self, request_id: str) -> Step:
        """Erase some of what a request is about: what an index finds first, and what many turns are looked for last."""
        step = await self.forget_own(request_id)
        if step.is_last or step.forgotten.turns:
            return step
        found = await self.look_through(request_id)
        while found.next is not None and not (found.turn_ids or found.waits):
            found = await self.look_through(request_id, found.next)
        rest = await self.forget_found(request_id, found)
        return replace(rest, forgotten=step.forgotten + rest.forgotten)

    @writes
    def forget_own(self, connection: sa.Connection, request_id: str) -> Step:
        """Erase some of the turns that an index finds for a request; after the last of them, what else there is."""
        request = self._taken_up(connection, request_id)
        if request is None or request.is_erased:
            return Step(is_last=True)
        for which in own_turns(request.kind, request.about, self._db.dialect):
            if rows := self._some(connection, which):
                person = request.about if request.kind == "person" else None
                return Step(self._erase(connection, rows, also_posted=request.also_posted, person=person))
        if request.kind == "person":
            return Step(self._forget_more_of(connection, request.about))
        if request.kind == "before":
            return Step()
        if request.kind == "session":
            unused = sa.select(sessions.c.id).where(sessions.c.id == int(request.about), sessions.c.turns == 0)
            self._clear(connection, connection.execute(unused).scalars().all())
        self._note_erased(connection, request_id)
        return Step(is_last=True)

    @reads
    def look_through(self, connection: sa.Connection, request_id: str, behind: str | None = None) -> Found:
        """Look at some turns, for those that a request is about, or that quote the person whom it is about.

        It is gone on `behind` where a look ended, or where one did that found something.
        """
        request = connection.execute(sa.select(requests).where(requests.c.id == request_id)).first()
        if request is None or request.is_erased:
            return Found()
        at = behind or request.looked_at
        if request.kind == "before":

            def is_meant(row: Any) -> bool:
                return is_in(request.about, row.session, row.place)

            return self._old(connection, request.before, at, is_meant)
        return self._naming(connection, Named.in_request(request), at or "")

    @writes
    def forget_found(self, connection: sa.Connection, request_id: str, found: Found) -> Step:
        """Erase what a look found, or take out of it whom the request is about."""
        request = self._taken_up(connection, request_id)
        if request is None or request.is_erased:
            return Step(is_last=True)
        if request.kind == "before":
            forgotten = self._erase_closed(connection, found.turn_ids, also_posted=request.also_posted)
        else:
            forgotten = self._take_out(connection, Named.in_request(request), found.turn_ids)
        if found.next is None:
            self._note_erased(connection, request_id)
            return Step(forgotten, is_last=True)
        later = self._clock.now + (SECONDS_TO_WAIT if found.waits else SECONDS_TO_WORK)
        moved = sa.update(requests).where(requests.c.id == request_id).values(looked_at=found.next, due_at=later)
        connection.execute(moved, self._clock.params())
        return Step(replace(forgotten, waits_for_answers=found.waits))

    def naming(self, connection: sa.Connection, person: str, at: str) -> tuple[Sequence[Json], Found]:
        """Some turns of others that name a person, behind the id `at`: what would be taken out of them, and no more."""
        named = Named(person)
        found = self._naming(connection, named, at, waits=False)
        columns = turns.c.id, sessions.c.name.label("session"), turns.c.frame, turns.c.destination, turns.c.accepted_at
        rows = connection.execute(
            sa.select(*columns, turns.c.surface)
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(turns.c.id.in_(found.turn_ids), turns.c.person.is_distinct_from(person))
        ).all()
        told = [
            {"id": row.id, "session": row.session, "accepted_at": row.accepted_at, "has": named.told_in(row)}
            for row in rows
        ]
        return told, found

    # ── what is old enough ───────────────────────────────────────────────────────────────────────────────────────────

    async def retain(self, retention: Retention, swept: dict[Rule, str]) -> Forgotten:
        """Erase what is older than the rule says that counts for it, the oldest first, and nothing that is open.

        `swept` has how far that was done for each rule, and is moved on.
        """
        total = Forgotten()
        request_id = None
        for rule in retention.rules:
            goes_on = rule.days is not None
            while goes_on:
                found = await self.look_for_old(
                    retention, rule, swept.get(rule)
                )  # one page, for others to read between
                if found.turn_ids:
                    request_id = request_id or await self.ask_to_overwrite_log()
                    total += await self.forget_old(found.turn_ids)
                goes_on = found.next is not None
                if found.next is not None:
                    swept[rule] = found.next
        if request_id is not None and not await self._overwrite_log(request_id):
            total += Forgotten(waits_for_readers=True)
        return total

    @reads
    def look_for_old(self, connection: sa.Connection, retention: Retention, rule: Rule, behind: str | None) -> Found:
        """The next turns that are older than the rule says that counts for them."""
        assert rule.days is not None
        now: float = connection.execute(sa.select(self._clock.now), self._clock.params()).scalar_one()

        def is_meant(row: Any) -> bool:
            return retention.rule_for(row.session, row.place) == rule

        return self._old(connection, now - rule.days * 86_400.0, behind, is_meant)

    @writes
    def forget_old(self, connection: sa.Connection, turn_ids: Sequence[str]) -> Forgotten:
        """Erase these turns, as far as they are closed."""
        return self._erase_closed(connection, turn_ids, also_posted=False)

    @writes
    def ask_to_overwrite_log(self, connection: sa.Connection) -> str:
        """Put on disk that the log is to be overwritten, before anything is erased; the id of that request."""
        return self._add_request(connection, kind="before", is_erased=True)

    # ── what would be ────────────────────────────────────────────────────────────────────────────────────────────────

    @reads
    def count_what_would_go(self, connection: sa.Connection, request: ForgetRequest) -> Forgotten | None:
        """What a request would erase, but for what turns of others quote. None where there is no such thing."""
        about = request.about
        if request.kind == "session":
            found = connection.execute(sa.select(sessions.c.id).where(sessions.c.name == about)).scalar()
            if found is None:
                return None
            about = str(found)
        if request.kind == "before":
            return self._count_old(connection, request)
        total = Forgotten()
        seen: set[str] = set()
        for which in own_turns(request.kind, about, self._db.dialect):
            rows = connection.execute(sa.select(*_COLUMNS).where(*which, IS_KEPT)).all()
            total += _sum_of([row for row in rows if row.id not in seen], also_posted=request.also_posted)
            seen.update(row.id for row in rows)
        if request.kind == "person":
            rated = sa.select(sa.func.count()).select_from(feedback).where(feedback.c.person == about)
            unlocked = sa.select(sa.func.count()).select_from(unlocks).where(unlocks.c.person == about)
            total += Forgotten(
                ratings=connection.execute(rated).scalar_one(), unlocks=connection.execute(unlocked).scalar_one()
            )
        return total

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _taken_up(self, connection: sa.Connection, request_id: str) -> Any:
        """The request, which nobody else takes up for a while; None where it is done."""
        moved = sa.update(requests).where(requests.c.id == request_id).values(due_at=self._clock.now + SECONDS_TO_WORK)
        return connection.execute(moved.returning(*requests.c), self._clock.params()).first()

    def _some(self, connection: sa.Connection, which: Sequence[sa.ColumnElement[bool]]) -> Sequence[sa.Row[Any]]:
        """Some of these turns that are not forgotten, the open ones first, with no more files than go at once."""
        for state in (IS_OPEN, turns.c.closed_at.is_not(None)):
            found = sa.select(*_COLUMNS).where(*which, state, IS_KEPT).limit(TURNS_AT_ONCE)
            rows = connection.execute(found).all()
            if rows:
                return _with_few_files(rows)
        return ()

    def _erase(
        self, connection: sa.Connection, rows: Sequence[sa.Row[Any]], *, also_posted: bool, person: str | None = None
    ) -> Forgotten:
        """Erase turns. The one place where it is decided what is left of one. `person`: who is to be forgotten."""
        ids = [row.id for row in rows]
        of = sorted({row.session_id for row in rows})
        self._lock(connection, of)
        which = turns.c.id == sa.bindparam("turn")
        blank = sa.update(turns).where(which).values(
            event_id=sa.bindparam("event"), question="", answer=None, context=None, error=None, person=None,
            outcome=Outcome.FORGOTTEN, destination=None, posted=None, frame=None, lines=None, joins=None, files=0,
            closed_at=sa.func.coalesce(turns.c.closed_at, self._clock.now), fencing_token=turns.c.fencing_token + 1,
        )  # fmt: skip
        events = [row.event_id and as_forgotten(row.surface, row.event_id) for row in rows]
        blanks = [{"turn": id_, "event": event, **self._clock.params()} for id_, event in zip(ids, events, strict=True)]
        connection.execute(blank, blanks)
        self._events.forget_events(connection, rows)
        self._digest_joined(connection, ids)
        self._attachments.remove_from_turns(connection, ids)
        ratings = connection.execute(sa.delete(feedback).where(feedback.c.turn_id.in_(ids))).rowcount
        connection.execute(sa.delete(posted_messages).where(posted_messages.c.turn_id.in_(ids)))
        if also_posted:
            for row in rows:
                self._takedowns.leave(connection, row.surface, json.loads(row.posted or "[]"))
        conversations = self._retire(connection, of)
        emptied = self._clear(connection, of, person, {row.session_id for row in rows if row.destination is not None})
        total = _sum_of(rows, also_posted=also_posted)
        total += Forgotten(ratings=ratings, conversations=conversations, sessions=emptied)
        for turn_id in total.ended:
            self._notify(connection, f"stop {turn_id}")
        return total

    def _erase_closed(self, connection: sa.Connection, turn_ids: Sequence[str], *, also_posted: bool) -> Forgotten:
        which = turns.c.id.in_(turn_ids), turns.c.closed_at.is_not(None), IS_KEPT
        rows = connection.execute(sa.select(*_COLUMNS).where(*which)).all() if turn_ids else []
        return self._erase(connection, rows, also_posted=also_posted) if rows else Forgotten()

    def _lock(self, connection: sa.Connection, session_ids: Sequence[int]) -> None:
        """Lock sessions before anything in them, as whoever accepts does: nothing is added to them meanwhile."""
        which = sessions.c.id.in_(session_ids)
        connection.execute(sa.select(sessions.c.id).where(which).order_by(sessions.c.id).with_for_update())

    def _digest_joined(self, connection: sa.Connection, turn_ids: Sequence[str]) -> None:
        found = connection.execute(sa.select(joined_events).where(joined_events.c.turn_id.in_(turn_ids))).all()
        for row in found:
            which = joined_events.c.surface == row.surface, joined_events.c.event_id == row.event_id
            event = as_forgotten(row.surface, row.event_id)
            connection.execute(sa.update(joined_events).where(*which).values(event_id=event))

    def _retire(self, connection: sa.Connection, session_ids: Collection[int]) -> int:
        """Retire the threads of sessions; how many conversations are to be erased by that."""
        has_one = threads.c.session_id.in_(session_ids), threads.c.conversation_id.is_not(None)
        count = sa.select(sa.func.count()).select_from(threads).where(*has_one)
        conversations = connection.execute(count).scalar_one() if session_ids else 0
        for session_id in sorted(session_ids):
            self._threads.retire(connection, session_id)
        return conversations

    def _clear(
        self, connection: sa.Connection, session_ids: Sequence[int], person: str | None = None,
        in_places: Collection[int] = (),
    ) -> int:  # fmt: skip
        """Clear sessions of which nothing is kept any more; how many these are.

        One that is in a place keeps its name: what is asked there next goes on behind what was forgotten, and is told
        nothing of it. (Of those of before places were kept, `in_places` are.) So does one whose name we made, unless
        nothing was ever asked in it. Any other is called what somebody chose, and one may be called after the person:
        what is asked under such a name later is another session.
        """
        self._lock(connection, session_ids)
        of_it = turns.c.session_id == sessions.c.id
        kept = sa.select(turns.c.id).where(of_it, IS_KEPT).limit(1).correlate(sessions).scalar_subquery()
        columns = (sessions.c[name] for name in ("id", "name", "place", "issued", "turns"))
        found = sa.select(*columns).where(sessions.c.id.in_(session_ids), kept.is_(None))
        emptied = connection.execute(found).all()
        for row in emptied:
            self._attachments.remove_from_session(connection, row.name)
            self._threads.retire(connection, row.id)
            keeps_its_name = row.place is not None or row.id in in_places or row.issued
            if row.turns == 0 or (person is not None and _is_called_after(row.name, person)):
                keeps_its_name = False
            if not keeps_its_name:
                nameless = {"name": f"{_NAMELESS}{row.id}", "place": None, "assistant": None, "issued": False}
                connection.execute(sa.update(sessions).where(sessions.c.id == row.id).values(nameless))
        return len(emptied)

    def _forget_more_of(self, connection: sa.Connection, person: str) -> Forgotten:
        """Erase what is kept of a person besides turns."""
        ratings = connection.execute(sa.delete(feedback).where(feedback.c.person == person)).rowcount
        opened = connection.execute(sa.delete(unlocks).where(unlocks.c.person == person)).rowcount
        self._events.forget_person(connection, person)
        named = sa.select(sessions.c.id).where(begins_with(sessions.c.name, f"{person}:", self._db.dialect))
        unused = connection.execute(named).scalars().all()
        emptied = self._clear(connection, unused, person)
        return Forgotten(ratings=ratings, unlocks=opened, sessions=emptied)

    def _names_of(self, connection: sa.Connection, person: str) -> Sequence[str]:
        """What a person was called where they asked."""
        which = turns.c.person == person, turns.c.frame.is_not(None)
        frames = connection.execute(sa.select(turns.c.frame).where(*which).limit(MOST_OWN_FRAMES)).scalars()
        return sorted({name for frame in frames if (name := json.loads(frame).get("speaker"))})

    def _old(
        self, connection: sa.Connection, before: float, behind: str | None, is_meant: Callable[[Any], bool]
    ) -> Found:
        """Look at some turns that were closed before a time, the first of them first, for those that are meant."""
        closed, last = sa.tuple_(turns.c.closed_at, turns.c.id), json.loads(behind) if behind else FIRST
        page = connection.execute(
            sa.select(turns.c.id, turns.c.closed_at, turns.c.files, sessions.c.name.label("session"), sessions.c.place)
            .join(sessions, sessions.c.id == turns.c.session_id)
            .where(sa.text(_OF_TURNS), closed > sa.tuple_(*last), turns.c.closed_at < before)
            .order_by(turns.c.closed_at, turns.c.id)
            .limit(LOOKED_AT_AT_ONCE)
        ).all()
        meant = [row for row in page if is_meant(row)]
        some = _with_few_files(meant[:TURNS_AT_ONCE])
        is_end = len(page) < LOOKED_AT_AT_ONCE and len(some) == len(meant)
        if not page or is_end:
            return Found([row.id for row in some])
        reached = some[-1] if len(some) < len(meant) else page[-1]
        return Found([row.id for row in some], json.dumps([reached.closed_at, reached.id]))

    def _count_old(self, connection: sa.Connection, request: ForgetRequest) -> Forgotten:
        total, behind, goes_on = Forgotten(), None, True

        def is_meant(row: Any) -> bool:
            return is_in(request.about, row.session, row.place)

        while goes_on:
            found = self._old(connection, request.before or 0.0, behind, is_meant)
            rows = connection.execute(sa.select(*_COLUMNS).where(turns.c.id.in_(found.turn_ids))).all()
            total += _sum_of(rows, also_posted=request.also_posted)
            behind, goes_on = found.next, found.next is not None
        return total

    def _naming(self, connection: sa.Connection, named: Named, at: str, *, waits: bool = True) -> Found:
        """Look at some turns, by their ids, for those that name somebody.

        Where it `waits` none behind an open one that does is found: the next look begins with that.
        """
        page = connection.execute(
            sa.select(turns.c.id, turns.c.surface, turns.c.frame, turns.c.destination, turns.c.closed_at)
            .where(turns.c.id > at)
            .order_by(turns.c.id)
            .limit(LOOKED_AT_AT_ONCE)
        ).all()
        naming = [row for row in page if named.is_in(row)]
        first_open = next((row.id for row in naming if waits and row.closed_at is None), None)
        if first_open is not None:
            closed = [row.id for row in naming if row.id < first_open]
            return Found(closed, closed[-1] if closed else at, waits=True)
        return Found([row.id for row in naming], page[-1].id if len(page) == LOOKED_AT_AT_ONCE else None)

    def _take_out(self, connection: sa.Connection, named: Named, turn_ids: Sequence[str]) -> Forgotten:
        """Take somebody out of closed turns of others, and what they said out of the threads that may hold it."""
        which = turns.c.id.in_(turn_ids), turns.c.closed_at.is_not(None), IS_KEPT
        columns = turns.c.id, turns.c.session_id, turns.c.surface, turns.c.frame, turns.c.destination, turns.c.closed_at
        rows = connection.execute(sa.select(*columns).where(*which)).all() if turn_ids else []
        for row in rows:
            frame, destination = named.taken_out_of(row)
            values = {"frame": frame, "destination": destination, "context": None}
            connection.execute(sa.update(turns).where(turns.c.id == row.id).values(values))
        return Forgotten(quotes=len(rows), conversations=self._retire(connection, {row.session_id for row in rows}))

    def _add_request(
        self, connection: sa.Connection, *, kind: str, about: str = "", names: str = "", before: float | None = None,
        also_posted: bool = False, is_erased: bool = False, seconds: float = SECONDS_TO_WORK,
    ) -> str:  # fmt: skip
        request_id = secrets.token_hex(8)
        values = {
            "id": request_id, "kind": kind, "about": about, "names": names, "before": before,
            "also_posted": also_posted, "looked_at": None, "is_erased": is_erased,
            "due_at": self._clock.now + seconds,
        }  # fmt: skip
        connection.execute(sa.insert(requests).values(values), self._clock.params())
        return request_id

    def _note_erased(self, connection: sa.Connection, request_id: str) -> None:
        values = {"about": "", "names": "", "looked_at": None, "is_erased": True}
        connection.execute(sa.update(requests).where(requests.c.id == request_id).values(values))

    async def _overwrite_log(self, request_id: str) -> bool:
        is_overwritten = await asyncio.to_thread(self._db.overwrite_log)
        await self.end_request(request_id, is_done=is_overwritten)
        return is_overwritten

    @writes
    def end_request(self, connection: sa.Connection, request_id: str, *, is_done: bool) -> None:
        """Record that nothing is left of a request, or that it is to be taken up again soon."""
        which = requests.c.id == request_id
        ended: sa.Update | sa.Delete = sa.delete(requests).where(which)
        if not is_done:
            ended = sa.update(requests).where(which).values(due_at=self._clock.now + SECONDS_TO_WAIT)
        connection.execute(ended, {} if is_done else self._clock.params())


def own_turns(kind: str, about: str, dialect: str) -> Sequence[Sequence[sa.ColumnElement[bool]]]:
    """What finds the turns that a request is about, where an index does."""
    if kind == "session":
        return [(turns.c.session_id == int(about),)]
    if kind == "turn":
        return [(turns.c.id == about,)]
    if kind == "person":
        called_after_them = begins_with(sessions.c.name, f"{about}:", dialect)
        return [
            (turns.c.person == about,),
            (turns.c.session_id.in_(sa.select(sessions.c.id).where(called_after_them)),),
        ]
    return []


def _is_called_after(session: str, person: str) -> bool:
    """Whether a session's name tells whose it is, as that of what one person says in a channel on Discord does."""
    return session.startswith(f"{person}:") or session.endswith(f":user:{person.rpartition(':')[2]}")


def _with_few_files(rows: Sequence[Any]) -> Sequence[Any]:
    """The first of these turns that have no more files than go at once; one at least."""
    files = 0
    for count, row in enumerate(rows):
        files += row.files
        if count and files > FILES_AT_ONCE:
            return rows[:count]
    return rows


def _sum_of(rows: Sequence[sa.Row[Any]], *, also_posted: bool) -> Forgotten:
    return Forgotten(
        turns=len(rows),
        ended=tuple(row.id for row in rows if row.closed_at is None),
        files=sum(row.files for row in rows),
        messages=sum(len(json.loads(row.posted or "[]")) for row in rows) if also_posted else 0,
    )
