"""Conversations of people with assistants, whoever asks. Surfaces enter here, and know nothing of what is behind."""

from core.answer import Answer
from core.answering import Prepare
from core.assistants import Assistant, Assistants, AssistantsFileError
from core.bootstrap import open_chat
from core.chat import Chat
from core.errors import (
    AnswerFailed,
    BadQuestion,
    ChatError,
    EventReused,
    HoldLost,
    NotAccepted,
    NotAllowed,
    Overloaded,
    StartError,
    StoreUnavailable,
    UnknownAssistant,
    WrongPassword,
)
from core.logs import configure_logging
from core.settings import SEED_PASSWORD, Settings, SettingsError, load_settings
from core.turns import Finished, Json, Outcome, Preparation, Question, Turn

__all__ = [
    "SEED_PASSWORD", "Answer", "AnswerFailed", "Assistant", "Assistants", "AssistantsFileError", "BadQuestion", "Chat",
    "ChatError", "EventReused", "Finished", "HoldLost", "Json", "NotAccepted", "NotAllowed", "Outcome", "Overloaded",
    "Preparation", "Prepare", "Question", "Settings", "SettingsError", "StartError", "StoreUnavailable", "Turn",
    "UnknownAssistant", "WrongPassword", "configure_logging", "load_settings", "open_chat",
]  # fmt: skip
