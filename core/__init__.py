"""Conversations of people with assistants, whoever asks. Surfaces enter here, and know nothing of what is behind."""

from core.answer import Answer
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
    Overloaded,
    StoreUnavailable,
    UnknownAssistant,
)
from core.settings import Settings, SettingsError, load_settings
from core.turns import Finished, Outcome, Question, Turn

__all__ = [
    "Answer", "AnswerFailed", "Assistant", "Assistants", "AssistantsFileError", "BadQuestion", "Chat", "ChatError",
    "EventReused", "Finished", "HoldLost", "NotAccepted", "Outcome", "Overloaded", "Question", "Settings",
    "SettingsError", "StoreUnavailable", "Turn", "UnknownAssistant", "load_settings", "open_chat",
]  # fmt: skip
