"""What is stored, and what each column means. Times are seconds since 1970, by the database's clock on PostgreSQL."""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from core.store.names import BY_BYTES

# Every accepted turn takes one from the sequence of sessions, so 32 bits would not last.
Number: Any = BigInteger().with_variant(Integer, "sqlite")
# Compared byte by byte, as SQLite does anyway, so that an index finds what begins with something.
# What is pruned when it is old enough: as it stands in the queries too, else the index would not serve them.
KEY_MAY_BE_PRUNED = "event_id IS NOT NULL AND destination IS NULL AND outcome <> 'forgotten'"
IS_CLOSED_AND_KEPT = "closed_at IS NOT NULL AND outcome <> 'forgotten'"
HAS_CONTEXT_YET = "closed_at IS NOT NULL AND context <> ''"  # of before it went with the answer
IS_IMPORTED = "imported IS NOT NULL"
HAS_A_PERSON = "person IS NOT NULL"
MAY_BE_JOINED = "joins IS NOT NULL"
IS_OF_NO_TURN = "turn_id IS NULL"
IS_UNUSED = "issued AND turns = 0 AND assistant IS NULL"


def _some(name: str, *columns: str, where: str) -> Index:
    """An index over the rows that meet a condition."""
    return Index(name, *columns, sqlite_where=text(where), postgresql_where=text(where))


class ChatSession(SQLModel, table=True):
    """One continuing conversation of people with assistants."""

    __tablename__: ClassVar[str] = "chat_session"
    __table_args__ = (
        _some("ix_chat_session_unused", "created_at", where=IS_UNUSED),
        # By which it is found how a name begins; SQLite orders the unique one so.
        Index("ix_chat_session_name_bytes", "name", postgresql_ops={"name": BY_BYTES}).ddl_if(dialect="postgresql"),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=Number)
    name: str = Field(unique=True)  # the session id, e.g. "web:public:12345"
    surface: str
    turns: int = Field(default=0)  # how many turns were accepted; the next one's number is one more
    begins: int = Field(default=1)  # the first turn of the visible transcript; a reset moves it
    assistant: str | None = None  # chosen for this session
    issued: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})  # we made its name
    created_at: float
    place: str | None = None  # what it is in, as far as its first question since this is kept told


class Turn(SQLModel, table=True):
    """One question, and its answer: inbox entry, dedupe record, place in its queue, transcript, recovery log."""

    __tablename__: ClassVar[str] = "turn"
    __table_args__ = (
        UniqueConstraint("session_id", "number", name="uq_turn_session_number"),
        UniqueConstraint("surface", "event_id", name="uq_turn_surface_event"),
        _some("ix_turn_open_queue", "session_id", "number", where="closed_at IS NULL"),
        # With "closed_at", else SQLite prefers an index over all turns of the surface.
        _some("ix_turn_open_lease_owner", "closed_at", "surface", "lease_owner", where="closed_at IS NULL"),
        _some("ix_turn_key_closed_at", "closed_at", where=KEY_MAY_BE_PRUNED),
        _some("ix_turn_joins", "surface", "joins", where=MAY_BE_JOINED),
        _some("ix_turn_imported", "imported", where=IS_IMPORTED),
        _some("ix_turn_person_accepted_at", "person", "accepted_at", where=HAS_A_PERSON),
        _some("ix_turn_kept_closed_at", "closed_at", "id", where=IS_CLOSED_AND_KEPT),
        _some("ix_turn_context_yet", "closed_at", where=HAS_CONTEXT_YET),
    )

    id: str = Field(primary_key=True)  # 128 random bits: whoever knows it may follow the turn and stop it
    session_id: int = Field(foreign_key="chat_session.id", sa_type=Number)
    number: int
    surface: str
    event_id: str | None = None  # None: nobody can ask for this turn again
    person: str | None = None  # who asked, as the surface knows them
    question: str = Field(sa_type=Text)  # without any password
    assistant: str  # chosen at acceptance, for good
    private: bool  # whether that assistant was private then, for good
    context: str | None = Field(default=None, sa_type=Text)  # what `prepare` fetched, until it is answered
    answer: str | None = Field(default=None, sa_type=Text)
    error: str | None = None  # the sentence that the person saw instead of an answer
    outcome: str | None = None
    lease_owner: str | None = None  # the process that has the lease; None: released, free for any
    fencing_token: int = Field(default=1)  # one more with each reclaim; goes with every write and every post
    attempts: int = Field(default=0)  # that ended with their process, one alone counts for several; `core.suspects`
    working_token: int | None = None  # of the last lease under which it was prepared, asked or shown; 0: it rests
    stop: bool = Field(default=False)  # a person wants it to end
    accepted_at: float
    started_at: float | None = (
        None  # when it was first begun; its deadline counts from here, see `SECONDS_AFTER_A_RECLAIM`
    )
    closed_at: float | None = None  # None: open, until the answer has been shown
    destination: str | None = Field(
        default=None, sa_type=Text
    )  # JSON: where the surface shows the answer; None: nowhere
    posted: str | None = Field(default=None, sa_type=Text)  # JSON: the messages that show it
    said_password: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})
    circle: str | None = None  # of the private assistant; NULL if it is public, or was asked before circles were kept
    unread: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})  # nothing of it was kept
    lapsed: str | None = None  # a private assistant whose unlock had lapsed when it was asked
    frame: str | None = Field(default=None, sa_type=Text)  # JSON: who asks, as a model is told; NULL: one person alone
    input_tokens: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    output_tokens: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    by_app: bool = Field(default=False, sa_column_kwargs={"server_default": text("false")})  # no person asked it
    joins: str | None = None  # what lines that may still join it are known by; it is not begun until this is NULL
    joins_until: float | None = None
    lines: str | None = Field(default=None, sa_type=Text)  # JSON: what it was said in, while that may change
    files: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # how many came with it
    # For whoever asks why; nothing is done by what these say.
    failure: str | None = None  # the kind of the error that it ended with, what did not allow it, or why none showed it
    shown_at: float | None = None  # when a message first showed something of its answer
    reclaims: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # from processes that were gone
    reclaimed_at: float | None = None
    changes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})  # by its author, before its answer
    changed_at: float | None = None
    imported: str | None = None  # a digest of what it was imported from; NULL: it was asked here


class JoinedEvent(SQLModel, table=True):
    """A message that is one of the lines of a turn, and not the first."""

    __tablename__: ClassVar[str] = "joined_event"

    surface: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    turn_id: str = Field(index=True)  # without a foreign key, as with posted messages


class Attachment(SQLModel, table=True):
    """A file of a question: what is known of it, and its text."""

    __tablename__: ClassVar[str] = "attachment"
    __table_args__ = (
        Index("ix_attachment_turn_id_place", "turn_id", "place"),
        _some("ix_attachment_of_no_turn", "taken_at", where=IS_OF_NO_TURN),
    )

    id: str = Field(primary_key=True)
    session: str = Field(index=True)  # its name, which there may be no row of yet
    turn_id: str | None = None  # None: the question that it comes with is not accepted yet, or never will be
    place: int  # among those of its turn
    name: str
    kind: str
    form: str
    size: int  # of what was sent
    sha256: str
    about: str
    problem: str | None = None  # why no model is given it
    media_type: str
    kept: int  # bytes in pieces
    tokens: int
    text_tokens: int
    bytes_in_all: int  # kept, and of its text
    taken_at: float = Field(index=True)
    text: str | None = Field(default=None, sa_type=Text)


class AttachmentPiece(SQLModel, table=True):
    """Some of the bytes that are kept of an attachment."""

    __tablename__: ClassVar[str] = "attachment_piece"

    attachment_id: str = Field(primary_key=True)
    number: int = Field(primary_key=True, sa_type=Integer)
    data: bytes = Field(sa_type=LargeBinary)


class PostedMessage(SQLModel, table=True):
    """A message that shows the answer of a turn: `Turn.posted`, to be looked up."""

    __tablename__: ClassVar[str] = "posted_message"

    surface: str = Field(primary_key=True)
    message: str = Field(primary_key=True)  # its "id" there
    turn_id: str = Field(index=True)  # without a foreign key: making one would hold up who writes turns


class Thread(SQLModel, table=True):
    """The provider's side of a session for one assistant: a cache of the transcript."""

    __tablename__: ClassVar[str] = "thread"
    __table_args__ = (UniqueConstraint("session_id", "assistant", name="uq_thread_session_assistant"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=Number)
    session_id: int = Field(foreign_key="chat_session.id", sa_type=Number)
    assistant: str
    private: bool  # whether it may hold private turns
    circle: str | None = None  # and whose
    scope: str  # which provider and key it lives under
    conversation_id: str | None = Field(default=None, unique=True)
    begins: int  # the first turn it contains
    synced: int  # the last turn it contains
    in_doubt: bool = Field(default=False)  # something may have been written to it that we did not record
    tokens: int = Field(default=0)  # what it cost to read at the last answer


class Place(SQLModel, table=True):
    """What sessions are in: a channel, a DM. Its row says what was chosen for all of them."""

    __tablename__: ClassVar[str] = "place"

    name: str = Field(primary_key=True)  # e.g. "slack:T1:C1"
    assistant: str


class Unlock(SQLModel, table=True):
    """A private assistant that a person has unlocked in a place for a while."""

    __tablename__: ClassVar[str] = "unlock"

    person: str = Field(primary_key=True)
    place: str = Field(primary_key=True)
    assistant: str
    until: float = Field(index=True)


class Feedback(SQLModel, table=True):
    """What a person thought of an answer."""

    __tablename__: ClassVar[str] = "feedback"
    __table_args__ = (Index("ix_feedback_person_at", "person", "at", "turn_id"),)

    turn_id: str = Field(primary_key=True, foreign_key="turn.id")
    person: str = Field(primary_key=True)
    good: bool
    at: float
    words: str | None = Field(default=None, sa_type=Text)


class Control(SQLModel, table=True):
    """An event that is a control (stop, reset), in case it is delivered again."""

    __tablename__: ClassVar[str] = "control"

    surface: str = Field(primary_key=True)
    event_id: str = Field(primary_key=True)
    at: float = Field(index=True)  # when somebody last began to carry it out
    done: bool = Field(default=False)


class HeardEvent(SQLModel, table=True):
    """An event that reached us and is no turn, and what became of it. It holds nothing of what was said."""

    __tablename__: ClassVar[str] = "heard_event"
    __table_args__ = (
        UniqueConstraint("surface", "event_id", "fate", "why", name="uq_heard_event"),
        Index("ix_heard_event_person_at", "person", "at"),
        Index("ix_heard_event_session", "session", postgresql_ops={"session": BY_BYTES}),
    )

    id: int | None = Field(default=None, primary_key=True, sa_type=Number)
    surface: str
    event_id: str | None = None
    fate: str
    why: str
    session: str | None = None
    person: str | None = None
    at: float = Field(index=True)  # when it came last
    times: int


class EventCount(SQLModel, table=True):
    """How many events of an hour had a fate that is counted and not kept."""

    __tablename__: ClassVar[str] = "event_count"

    hour: float = Field(primary_key=True)  # its first second
    surface: str = Field(primary_key=True)
    fate: str = Field(primary_key=True)
    why: str = Field(primary_key=True)
    events: int


class StoredResponse(SQLModel, table=True):
    """A response the provider keeps beside a conversation, and that is to be erased with it."""

    __tablename__: ClassVar[str] = "stored_response"

    id: str = Field(primary_key=True)
    conversation_id: str = Field(index=True)


class Erasure(SQLModel, table=True):
    """A retired conversation that is still to be erased at the provider."""

    __tablename__: ClassVar[str] = "erasure"
    __table_args__ = (Index("ix_erasure_scope_due_at", "scope", "due_at"),)

    conversation_id: str = Field(primary_key=True)
    scope: str
    due_at: float  # not before; moved ahead by whoever works on it, and after a failure
    attempts: int = Field(default=0)


class ForgetRequest(SQLModel, table=True):
    """What somebody wants forgotten, until nothing is left of it. Whoever starts next goes on with it."""

    __tablename__: ClassVar[str] = "forget_request"

    id: str = Field(primary_key=True)
    kind: str
    about: str  # a person, the id of a session or of a turn, a place; empty once all is erased
    names: str = ""  # JSON: what a person is called; empty once all is erased
    before: float | None = None
    also_posted: bool
    looked_at: str | None = Field(default=None, sa_type=Text)  # JSON: how far turns of others were looked through
    is_erased: bool = Field(default=False)  # what is left is in SQLite's log alone
    due_at: float  # nobody takes it up before; moved ahead by whoever works on it


class Takedown(SQLModel, table=True):
    """A message of ours that is still to be deleted on its platform."""

    __tablename__: ClassVar[str] = "takedown"
    __table_args__ = (Index("ix_takedown_surface_due_at", "surface", "due_at"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=Number)
    surface: str
    message: str = Field(sa_type=Text)  # JSON, as in `Turn.posted`
    due_at: float
    attempts: int = Field(default=0)


class Guess(SQLModel, table=True):
    """Words that looked like a password and were none."""

    __tablename__: ClassVar[str] = "guess"
    __table_args__ = (Index("ix_guess_subject_at", "subject", "at"),)

    id: int | None = Field(default=None, primary_key=True, sa_type=Number)
    subject: str  # a digest of the person, address or surface they count against
    at: float = Field(index=True)
    words: int


class Lockout(SQLModel, table=True):
    """Somebody of whom a text was not read, since too many words in it might have been passwords."""

    __tablename__: ClassVar[str] = "lockout"

    subject: str = Field(primary_key=True)
    until: float = Field(index=True)  # an hour after it last was so


class ApiKey(SQLModel, table=True):
    """A key of the web API. The key itself is nowhere."""

    __tablename__: ClassVar[str] = "api_key"

    id: str = Field(primary_key=True)  # the beginning of its digest, to talk about it
    name: str  # whose it is; the sessions that are asked with it are theirs
    digest: str = Field(unique=True)  # SHA-256, in hexadecimal
    publishable: bool  # it stands in web pages, so it opens only what was asked with it, and only from `origins`
    private: bool  # whether it may use private assistants
    origins: str  # separated by spaces
    created_at: float
    revoked_at: float | None = None
    feedback_to: str | None = None  # the name of the secret keys of the same site: `core.turns.ApiKey.owner`
    identity: str | None = None  # what it does about who its website says its visitors are; NULL: "off"


class IdentityKey(SQLModel, table=True):
    """A key with which a website signs who its visitors are. Its secret is derived from its id and a setting."""

    __tablename__: ClassVar[str] = "identity_key"

    kid: str = Field(primary_key=True)
    name: str  # of the keys of the web API with which it is presented
    created_at: float
    retired_at: float | None = None


class LeaseOwner(SQLModel, table=True):
    """A process with leases, as other hosts see it. On SQLite it only shows whether anything can be written."""

    __tablename__: ClassVar[str] = "lease_owner"

    id: str = Field(primary_key=True)
    host: str  # processes that share a folder of lock files share this
    lock: int = Field(sa_type=BigInteger)  # its advisory lock
    expires_at: float  # its leases expire then, unless a heartbeat moves this ahead
    lock_free_since: float | None = None  # when its advisory lock was first seen free
