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
from core.password import SEED_PASSWORD, generated_password
from core.process import allowed_hosts, calm_garbage_collector, is_exposed, is_loopback, start_warnings
from core.settings import Seconds, Settings, SettingsError, SettingsModel, Url, Words, load_settings, read_settings
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
    "Seconds",
    "SessionSummary",
    "Settings",
    "SettingsError",
    "SettingsModel",
    "StartError",
    "StoreUnavailable",
    "Turn",
    "UnknownAssistant",
    "UnknownSession",
    "Url",
    "Words",
    "WrongPassword",
    "allowed_hosts",
    "back_up",
    "calm_garbage_collector",
    "configure_logging",
    "describe_database",
    "generated_password",
    "is_exposed",
    "is_loopback",
    "kind_of",
    "load_settings",
    "open_api_keys",
    "open_chat",
    "read_settings",
    "restore_from",
    "start_warnings",
]  # fmt: skip
