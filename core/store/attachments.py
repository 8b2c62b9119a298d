"""Files that came with questions, in pieces that no other write waits for.

A file is taken before the question that it comes with: its row and its bytes belong to no turn, until the commit that
accepts the question gives them to its turn. Whatever belongs to none for an hour, since its process died or nobody took
it away, is pruned; `Store.prune` is done at each start and every hour.
"""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa

from core.attachments import Attachment, FileLimits
from core.errors import LeaseLost, StoreUnavailable
from core.store.part import Part, reads, writes
from core.store.rows import HAS_LEASE, IS_UNANSWERED, attachments, fence, lease_of, pieces, sessions, turns
from core.store.tables import IS_OF_NO_TURN
from core.turns import Turn

BYTES_OF_A_PIECE = 256 * 1024
OF_NO_TURN_SECONDS = 3_600.0
PRUNED_AT_ONCE = 4  # files, of up to 20 MB each
DAY_SECONDS = 86_400.0
SESSION_IS_FULL = "this conversation holds as many files as it may: begin a new one, or reset this one"
DAY_IS_FULL = "I was sent as many files as I may keep in a day"


class Attachments(Part):
    """What is kept of files."""

    @writes
    def take_in(
        self, connection: sa.Connection, session: str, attachment: Attachment, place: int, text: str,
        limits: FileLimits, turn: Turn | None = None,
    ) -> str | None:  # fmt: skip
        """Keep what is known of a file and its text, its bytes to follow; or say why there is no room for them.

        Raises LeaseLost where it is fetched for a `turn` that is not ours any more.
        """
        if turn is not None:
            fence(connection, turn)
        size = attachment.kept + len(text.encode())
        if full := self._full(connection, session, size, limits):
            return full
        self._take(connection, session, attachment, place, text)
        return None

    @writes
    def take_back(self, connection: sa.Connection, session: str, attachment: Attachment, place: int, text: str) -> bool:
        """As `take_in` without limits, for a file that was kept before, here or elsewhere.

        What is left of an earlier try at it makes room. False where it belongs to a turn here.
        """
        self._remove(connection, attachments.c.id == attachment.id, attachments.c.turn_id.is_(None))
        if connection.execute(sa.select(attachments.c.id).where(attachments.c.id == attachment.id)).first() is not None:
            return False
        self._take(connection, session, attachment, place, text)
        return True

    @writes
    def add_piece(self, connection: sa.Connection, attachment_id: str, number: int, data: bytes) -> None:
        """Keep the next bytes of a file. Raises StoreUnavailable where it was taken away meanwhile."""
        # Locked, so that whoever takes it away finds these bytes as well.
        is_there = sa.select(attachments.c.id).where(attachments.c.id == attachment_id).with_for_update(read=True)
        if connection.execute(is_there).first() is None:
            raise StoreUnavailable
        connection.execute(sa.insert(pieces).values(attachment_id=attachment_id, number=number, data=data))

    @writes
    def give(self, connection: sa.Connection, turn: Turn, attachment_ids: Sequence[str]) -> None:
        """Let files that were fetched for a turn belong to it. Raises LeaseLost, and as `add_piece` does."""
        more = sa.update(turns).where(HAS_LEASE).values(files=turns.c.files + len(attachment_ids))
        if connection.execute(more.returning(turns.c.id), lease_of(turn)).first() is None:
            raise LeaseLost
        if not self.give_to(connection, turn.id, attachment_ids):
            raise StoreUnavailable

    @writes
    def drop(self, connection: sa.Connection, attachment_ids: Sequence[str]) -> None:
        """Keep nothing of files that belong to no turn."""
        self._remove(connection, attachments.c.id.in_(attachment_ids), attachments.c.turn_id.is_(None))

    @writes
    def refuse(self, connection: sa.Connection, turn: Turn, attachment_ids: Sequence[str], problem: str) -> None:
        """Keep nothing but the names of files that no model takes, and why. Raises LeaseLost."""
        fence(connection, turn)
        which = attachments.c.id.in_(attachment_ids)
        connection.execute(sa.delete(pieces).where(pieces.c.attachment_id.in_(attachment_ids)))
        nothing = {"form": "", "text": None, "kept": 0, "tokens": 0, "text_tokens": 0, "bytes_in_all": 0}
        connection.execute(sa.update(attachments).where(which).values(problem=problem, **nothing))

    @reads
    def text_of(self, connection: sa.Connection, attachment_id: str) -> str | None:
        """The text of a file; None where nothing is kept of it any more."""
        found = sa.select(attachments.c.text).where(attachments.c.id == attachment_id)
        row = connection.execute(found).first()
        return None if row is None else row.text or ""

    @reads
    def piece_of(self, connection: sa.Connection, attachment_id: str, number: int) -> bytes | None:
        """Some of the bytes of a file; None behind the last ones."""
        which = pieces.c.attachment_id == attachment_id, pieces.c.number == number
        return connection.execute(sa.select(pieces.c.data).where(*which)).scalar()

    # ── within the transactions of others ────────────────────────────────────────────────────────────────────────────

    def give_to(self, connection: sa.Connection, turn_id: str, attachment_ids: Sequence[str]) -> bool:
        """Let files belong to a turn. False where some were taken away meanwhile."""
        which = attachments.c.id.in_(attachment_ids), attachments.c.turn_id.is_(None)
        given = connection.execute(sa.update(attachments).where(*which).values(turn_id=turn_id))
        return given.rowcount == len(attachment_ids)

    def pass_on(self, connection: sa.Connection, turn_id: str, to: str) -> int:
        """Let the files of a turn belong to another one from now on; how many they are."""
        passed_on = sa.update(attachments).where(attachments.c.turn_id == turn_id).values(turn_id=to)
        return connection.execute(passed_on).rowcount

    def remove_from_turn(self, connection: sa.Connection, turn_id: str) -> None:
        """Keep nothing of a turn's files."""
        self._remove(connection, attachments.c.turn_id == turn_id)

    def remove_from_turns(self, connection: sa.Connection, turn_ids: Sequence[str]) -> None:
        """Keep nothing of the files of these turns."""
        self._remove(connection, attachments.c.turn_id.in_(turn_ids))

    def remove_from_session(self, connection: sa.Connection, session: str) -> None:
        """Keep nothing of the files of a session, also those of questions that are about to be accepted."""
        self._remove(connection, attachments.c.session == session)

    def remove_what_was_answered(self, connection: sa.Connection, session: str, session_id: int) -> None:
        """The same, but for the files of questions that are still to be answered; see `remove_of_answered`."""
        to_be_answered = sa.select(turns.c.id).where(
            turns.c.session_id == session_id, turns.c.closed_at.is_(None), IS_UNANSWERED
        )
        is_not_needed = sa.or_(attachments.c.turn_id.is_(None), attachments.c.turn_id.not_in(to_be_answered))
        self._remove(connection, attachments.c.session == session, is_not_needed)

    def remove_of_answered(self, connection: sa.Connection, turn: Turn) -> None:
        """Keep nothing of a turn's files, now that it is answered, if its session was reset meanwhile."""
        was_reset = sa.exists().where(sessions.c.id == turn.session_id, sessions.c.begins > turn.number)
        self._remove(connection, attachments.c.turn_id == turn.id, was_reset)

    def prune(self, connection: sa.Connection) -> int:
        """Remove some files that have belonged to no turn for an hour; how many it were."""
        old = (
            sa.select(attachments.c.id)
            .where(sa.text(IS_OF_NO_TURN), attachments.c.taken_at < self._clock.now - OF_NO_TURN_SECONDS)
            .limit(PRUNED_AT_ONCE)
        )
        found = connection.execute(old, self._clock.params()).scalars().all()
        if found:
            self._remove(connection, attachments.c.id.in_(found))
        return len(found)

    # ── within ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _take(self, connection: sa.Connection, session: str, attachment: Attachment, place: int, text: str) -> None:
        known = {
            name: getattr(attachment, name)
            for name in (
                "id", "name", "kind", "form", "size", "sha256", "about", "problem", "media_type", "kept", "tokens",
                "text_tokens",
            )
        }  # fmt: skip
        size = attachment.kept + len(text.encode())
        connection.execute(
            sa.insert(attachments).values(
                **known, session=session, place=place, bytes_in_all=size, text=text or None, taken_at=self._clock.now
            ),
            self._clock.params(),
        )

    def _remove(self, connection: sa.Connection, *which: sa.ColumnElement[bool]) -> None:
        removed = connection.execute(sa.delete(attachments).where(*which).returning(attachments.c.id)).scalars().all()
        if removed:
            connection.execute(sa.delete(pieces).where(pieces.c.attachment_id.in_(removed)))

    def _full(self, connection: sa.Connection, session: str, size: int, limits: FileLimits) -> str | None:
        if not size:
            return None
        total = sa.select(sa.func.coalesce(sa.func.sum(attachments.c.bytes_in_all), 0))
        if connection.execute(total.where(attachments.c.session == session)).scalar_one() + size > limits.of_a_session:
            return SESSION_IS_FULL
        today = total.where(attachments.c.taken_at > self._clock.now - DAY_SECONDS)
        if connection.execute(today, self._clock.params()).scalar_one() + size > limits.of_a_day:
            return DAY_IS_FULL
        return None
