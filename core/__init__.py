"""Conversations of people with assistants, whoever asks. Surfaces enter here, and know nothing of what is behind.

The words that stand everywhere:

- *Surface*: where people ask: Slack, Discord, the web.
- *Session*: one continuing conversation on a surface, by its name (`web:public:1`). Its turns are in one order.
- *Turn*: a question in its place in a session, and its answer. The row in the database is all there is of it.
- *Identity*: a website's signed word on who its visitor is. Whose it is has sessions of their own, which no guest has.
- *Attachment*: a file of a question. It belongs to its turn, and goes with it.
- *Destination*: the surface's note in a turn on where its answer is to be shown. Without one, stored is shown.
- *Reply*: the messages of a platform that show the answer of a turn while it grows.
- *Transcript*: the past turns of a session that an assistant may see, since the session was last reset.
- *Assistant*: whom a turn asks: a name and instructions for a language model, public or private.
- *Circle*: the private assistants that one password opens. They see what was said in their circle; nobody else does.
- *Thread*: the provider's side of a session for one assistant, a cache of the transcript: *synced* to the last turn
  that it contains, and *in doubt* while something may have been written to it that is not recorded.
- *Session queue*: the turns of a session that this process has in hand. Each is asked once all before it are closed.
- *Lease*: a process's right to work on a turn, until a *heartbeat* fails to renew it. Each new lease of a turn has a
  higher *fencing token*, and whoever writes with a lower one is refused.
- *Open*, *closed*: a turn is open from its acceptance until its answer is stored and, with a destination, shown.
- *Sentence*: words of Bob's own. It is English, also where it is stored, and is translated where it is shown.
- *Locale*: what a surface tells of somebody's language: `de-AT`.
- *Event*: a message, a command, a click or a request that reached us. It became a turn, a line of one, or else its
  *fate* says what became of it. A *story* is what is known of one question, with times.
- *Orphaned*, *reclaim*: an open turn whose process is gone is orphaned. Another process reclaims it, with a new lease.
"""

from core.answer import Answer
from core.answering import Prepare, Then
from core.api_keys import OPEN_NAMESPACE, ApiKeys, NoSuchKey
from core.archive import Archive, open_archive
from core.archive.formats import FORMATS as EXPORT_FORMATS
from core.archive.formats import (
    Format,
    list_in,
    object_in,
    read_in_place,
    session_lines,
    text_in,
    time_in,
)
from core.archive.formats import How as HowToImport
from core.archive.importing import Report as ImportReport
from core.archive.lines import as_line
from core.archive.markdown import as_markdown
from core.archive.sources import CannotImport, Source
from core.archive.talks import Message as ImportedMessage
from core.archive.values import Broken as BrokenFile
from core.archived import ArchiveLine, Ending, Filters, ListedSession
from core.archived import Unreadable as UnreadablePart
from core.assistants import Assistant, Assistants, AssistantsFileError
from core.attachments import Attachment, GivenFile
from core.backoff import exponential_backoff
from core.bootstrap import open_chat
from core.chat import Chat
from core.data_requests import FORMAT_OF_A_PERSON, DataRequests, open_data_requests
from core.doctor import UNUSABLE, core_checks, start_warnings, unusable
from core.errors import (
    AnswerFailed,
    BadQuestion,
    ChatError,
    ComeAgain,
    Draining,
    EventReused,
    FilesTooLarge,
    LeaseLost,
    NoPrivateHere,
    NotAccepted,
    NotAllowed,
    NotTheLastTurn,
    OnlyApps,
    Overloaded,
    PasswordNeededAgain,
    PasswordsClosed,
    Refusal,
    Rejected,
    SessionInUse,
    StartError,
    StoreUnavailable,
    UnknownAssistant,
    UnknownSession,
    WrongPassword,
    failure_as_stored,
)
from core.events import (
    AFTER_THE_ANSWER,
    ANOTHER_THREAD,
    ASKED_AGAIN,
    NO_MENTION,
    QUESTION_NOT_SHOWN,
    ROLE_MENTION,
    SAID_BEFORE,
    SOMEBODY_ELSE,
    Count,
    Event,
    Fate,
    Story,
    TurnStory,
)
from core.file_intake import NOT_FETCHED, Fetch, FetchedFile
from core.findings import (
    Check,
    Finding,
    Kind,
    News,
    NotChecked,
    Report,
    Surroundings,
    examine,
    examined,
    is_called,
)
from core.forgetting import CANNOT_BE_PROMISED, OF_POSTGRESQL, OF_SQLITE, ForgetRequest, Forgotten
from core.frames import Frame, Remarks, as_moment
from core.identities import ExpiredIdentity, Identities, InvalidIdentity, digest_of_person, open_keys
from core.languages import ENGLISH, LANGUAGES, Sentence, as_it_was_stored, language_of, name_in_language
from core.logs import configure_logging, kind_of
from core.markdown import Context, closing, context_at, is_table_rule, with_note
from core.password import SEED_PASSWORD, generated_password
from core.process import allowed_hosts, calm_garbage_collector, check_who_may_ask, is_exposed, is_loopback
from core.settings import (
    ENV_FILE,
    Seconds,
    Settings,
    SettingsError,
    SettingsModel,
    Url,
    Words,
    env_file_encoding,
    load_settings,
    problem_with,
    read_settings,
)
from core.store.backup import back_up, restore_from
from core.store.compacting import compact
from core.store.database import describe_database
from core.stories import Stories, open_stories
from core.surface_troubles import SurfaceTroubles
from core.traces import requests_left_out
from core.turns import (
    ApiKey,
    Exchange,
    Finished,
    IdentityKey,
    IdentityMode,
    Json,
    Line,
    Outcome,
    Preparation,
    Question,
    Rating,
    SessionSummary,
    Turn,
)
from core.wording import NO_WORDS, answer_in_language, problem_of_a_file

__all__ = [
    "AFTER_THE_ANSWER",
    "ANOTHER_THREAD",
    "ASKED_AGAIN",
    "CANNOT_BE_PROMISED",
    "ENGLISH",
    "ENV_FILE",
    "EXPORT_FORMATS",
    "FORMAT_OF_A_PERSON",
    "LANGUAGES",
    "NOT_FETCHED",
    "NO_MENTION",
    "NO_WORDS",
    "OF_POSTGRESQL",
    "OF_SQLITE",
    "OPEN_NAMESPACE",
    "QUESTION_NOT_SHOWN",
    "ROLE_MENTION",
    "SAID_BEFORE",
    "SEED_PASSWORD",
    "SOMEBODY_ELSE",
    "UNUSABLE",
    "Answer",
    "AnswerFailed",
    "ApiKey",
    "ApiKeys",
    "Archive",
    "ArchiveLine",
    "Assistant",
    "Assistants",
    "AssistantsFileError",
    "Attachment",
    "BadQuestion",
    "BrokenFile",
    "CannotImport",
    "Chat",
    "ChatError",
    "Check",
    "ComeAgain",
    "Context",
    "Count",
    "DataRequests",
    "Draining",
    "Ending",
    "Event",
    "EventReused",
    "Exchange",
    "ExpiredIdentity",
    "Fate",
    "Fetch",
    "FetchedFile",
    "FilesTooLarge",
    "Filters",
    "Finding",
    "Finished",
    "ForgetRequest",
    "Forgotten",
    "Format",
    "Frame",
    "GivenFile",
    "HowToImport",
    "Identities",
    "IdentityKey",
    "IdentityMode",
    "ImportReport",
    "ImportedMessage",
    "InvalidIdentity",
    "Json",
    "Kind",
    "LeaseLost",
    "Line",
    "ListedSession",
    "News",
    "NoPrivateHere",
    "NoSuchKey",
    "NotAccepted",
    "NotAllowed",
    "NotChecked",
    "NotTheLastTurn",
    "OnlyApps",
    "Outcome",
    "Overloaded",
    "PasswordNeededAgain",
    "PasswordsClosed",
    "Preparation",
    "Prepare",
    "Question",
    "Rating",
    "Refusal",
    "Rejected",
    "Remarks",
    "Report",
    "Seconds",
    "Sentence",
    "SessionInUse",
    "SessionSummary",
    "Settings",
    "SettingsError",
    "SettingsModel",
    "Source",
    "StartError",
    "StoreUnavailable",
    "Stories",
    "Story",
    "SurfaceTroubles",
    "Surroundings",
    "Then",
    "Turn",
    "TurnStory",
    "UnknownAssistant",
    "UnknownSession",
    "UnreadablePart",
    "Url",
    "Words",
    "WrongPassword",
    "allowed_hosts",
    "answer_in_language",
    "as_it_was_stored",
    "as_line",
    "as_markdown",
    "as_moment",
    "back_up",
    "calm_garbage_collector",
    "check_who_may_ask",
    "closing",
    "compact",
    "configure_logging",
    "context_at",
    "core_checks",
    "describe_database",
    "digest_of_person",
    "env_file_encoding",
    "examine",
    "examined",
    "exponential_backoff",
    "failure_as_stored",
    "generated_password",
    "is_called",
    "is_exposed",
    "is_loopback",
    "is_table_rule",
    "kind_of",
    "language_of",
    "list_in",
    "load_settings",
    "name_in_language",
    "object_in",
    "open_archive",
    "open_chat",
    "open_data_requests",
    "open_keys",
    "open_stories",
    "problem_of_a_file",
    "problem_with",
    "read_in_place",
    "read_settings",
    "requests_left_out",
    "restore_from",
    "session_lines",
    "start_warnings",
    "text_in",
    "time_in",
    "unusable",
    "with_note",
]  # fmt: skip
