"""Conversations of people with assistants, whoever asks. Surfaces enter here, and know nothing of what is behind."""

from core.answer import Answer
from core.answering import Prepare
from core.api_keys import OPEN_NAMESPACE, ApiKeys, NoSuchKey, open_api_keys
from core.assistants import Assistant, Assistants, AssistantsFileError
from core.bootstrap import open_chat
from core.chat import Chat
from core.errors import (
    AnswerFailed,
    BadQuestion,
    ChatError,
    EventReused,
    LeaseLost,
    NoPrivateHere,
    NotAccepted,
    NotAllowed,
    Overloaded,
    PasswordsClosed,
    StartError,
    StoreUnavailable,
    UnknownAssistant,
    UnknownSession,
    WrongPassword,
)
from core.frames import Frame, Remarks
from core.logs import configure_logging, kind_of
from core.markdown import Context, closing, context_at, is_table_rule, with_note
from core.password import SEED_PASSWORD, generated_password
from core.process import allowed_hosts, calm_garbage_collector, is_exposed, is_loopback, start_warnings
from core.settings import Settings, SettingsError, load_settings
from core.store.backup import back_up, restore_from
from core.store.database import describe_database
from core.turns import ApiKey, Exchange, Finished, Json, Outcome, Preparation, Question, SessionSummary, Turn

__all__ = [
    "OPEN_NAMESPACE",
    "SEED_PASSWORD",
    "Answer",
    "AnswerFailed",
    "ApiKey",
    "ApiKeys",
    "Assistant",
    "Assistants",
    "AssistantsFileError",
    "BadQuestion",
    "Chat",
    "ChatError",
    "Context",
    "EventReused",
    "Exchange",
    "Finished",
    "Frame",
    "Json",
    "LeaseLost",
    "NoPrivateHere",
    "NoSuchKey",
    "NotAccepted",
    "NotAllowed",
    "Outcome",
    "Overloaded",
    "PasswordsClosed",
    "Preparation",
    "Prepare",
    "Question",
    "Remarks",
    "SessionSummary",
    "Settings",
    "SettingsError",
    "StartError",
    "StoreUnavailable",
    "Turn",
    "UnknownAssistant",
    "UnknownSession",
    "WrongPassword",
    "allowed_hosts",
    "back_up",
    "calm_garbage_collector",
    "closing",
    "configure_logging",
    "context_at",
    "describe_database",
    "generated_password",
    "is_exposed",
    "is_loopback",
    "is_table_rule",
    "kind_of",
    "load_settings",
    "open_api_keys",
    "open_chat",
    "restore_from",
    "start_warnings",
    "with_note",
]  # fmt: skip
