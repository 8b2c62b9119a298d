"""Conversations of people with assistants, whoever asks. Surfaces enter here, and know nothing of what is behind.

The words that stand everywhere:

- *Surface*: where people ask: Slack, Discord, the web.
- *Session*: one continuing conversation on a surface, by its name (`web:public:1`). Its turns are in one order.
- *Turn*: a question in its place in a session, and its answer. The row in the database is all there is of it.
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
- *Orphaned*, *reclaim*: an open turn whose process is gone is orphaned. Another process reclaims it, with a new lease.
"""

from core.answer import Answer
from core.answering import Prepare, Then
from core.api_keys import OPEN_NAMESPACE, ApiKeys, NoSuchKey, open_api_keys
from core.assistants import Assistant, Assistants, AssistantsFileError
from core.attachments import Attachment, GivenFile
from core.backoff import exponential_backoff
from core.bootstrap import open_chat
from core.chat import Chat
from core.data_requests import FORMAT_OF_A_PERSON, DataRequests, open_data_requests
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
    OnlyApps,
    Overloaded,
    PasswordsClosed,
    Rejected,
    StartError,
    StoreUnavailable,
    UnknownAssistant,
    UnknownSession,
    WrongPassword,
    failure_as_stored,
)
from core.file_intake import NOT_FETCHED, Fetch, FetchedFile
from core.forgetting import CANNOT_BE_PROMISED, OF_POSTGRESQL, OF_SQLITE, ForgetRequest, Forgotten
from core.frames import Frame, Remarks, as_moment
from core.languages import ENGLISH, LANGUAGES, Sentence, as_it_was_stored, language_of, name_in_language
from core.logs import configure_logging, kind_of
from core.markdown import Context, closing, context_at, is_table_rule, with_note
from core.password import SEED_PASSWORD, generated_password
from core.process import allowed_hosts, calm_garbage_collector, is_exposed, is_loopback, start_warnings
from core.settings import Seconds, Settings, SettingsError, SettingsModel, Url, Words, load_settings, read_settings
from core.store.backup import back_up, restore_from
from core.store.compacting import compact
from core.store.database import describe_database
from core.surface_troubles import SurfaceTroubles
from core.turns import (
    ApiKey,
    Exchange,
    Finished,
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
    "CANNOT_BE_PROMISED",
    "ENGLISH",
    "FORMAT_OF_A_PERSON",
    "LANGUAGES",
    "NOT_FETCHED",
    "NO_WORDS",
    "OF_POSTGRESQL",
    "OF_SQLITE",
    "OPEN_NAMESPACE",
    "SEED_PASSWORD",
    "Answer",
    "AnswerFailed",
    "ApiKey",
    "ApiKeys",
    "Assistant",
    "Assistants",
    "AssistantsFileError",
    "Attachment",
    "BadQuestion",
    "Chat",
    "ChatError",
    "ComeAgain",
    "Context",
    "DataRequests",
    "Draining",
    "EventReused",
    "Exchange",
    "Fetch",
    "FetchedFile",
    "FilesTooLarge",
    "Finished",
    "ForgetRequest",
    "Forgotten",
    "Frame",
    "GivenFile",
    "Json",
    "LeaseLost",
    "Line",
    "NoPrivateHere",
    "NoSuchKey",
    "NotAccepted",
    "NotAllowed",
    "OnlyApps",
    "Outcome",
    "Overloaded",
    "PasswordsClosed",
    "Preparation",
    "Prepare",
    "Question",
    "Rating",
    "Rejected",
    "Remarks",
    "Seconds",
    "Sentence",
    "SessionSummary",
    "Settings",
    "SettingsError",
    "SettingsModel",
    "StartError",
    "StoreUnavailable",
    "SurfaceTroubles",
    "Then",
    "Turn",
    "UnknownAssistant",
    "UnknownSession",
    "Url",
    "Words",
    "WrongPassword",
    "allowed_hosts",
    "answer_in_language",
    "as_it_was_stored",
    "as_moment",
    "back_up",
    "calm_garbage_collector",
    "closing",
    "compact",
    "configure_logging",
    "context_at",
    "describe_database",
    "exponential_backoff",
    "failure_as_stored",
    "generated_password",
    "is_exposed",
    "is_loopback",
    "is_table_rule",
    "kind_of",
    "language_of",
    "load_settings",
    "name_in_language",
    "open_api_keys",
    "open_chat",
    "open_data_requests",
    "problem_of_a_file",
    "read_settings",
    "restore_from",
    "start_warnings",
    "with_note",
]  # fmt: skip
