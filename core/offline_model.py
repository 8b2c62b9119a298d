"""The offline stand-in: answers without a network or a key, always the same, and shows what it was told before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from datetime import date
from itertools import pairwise

from core.assistants import Assistant
from core.frames import without_setting
from core.language_model import Ask, ModelTrouble, Recording, ResponseStarted, Transcript, TroubleKind
from core.turns import Finished, Usage

MOST_REMEMBERED = 3
LONGEST_QUOTE = 200
SECONDS_BETWEEN_WORDS = 0.005


class OfflineModel:
    """A language model that only repeats: enough to see threads, memory and privacy at work."""

    scope = "offline"
    conversations = None

    async def answer(self, ask: Ask) -> AsyncIterator[str | ResponseStarted | Finished]:
        """Say who answers, what was asked, and what was asked before, word by word."""
        text = self._compose(ask)
        cuts = [0, *(place + 1 for place, letter in enumerate(text) if letter == " "), len(text)]
        for start, end in pairwise(cuts):
            yield text[start:end]
            await asyncio.sleep(SECONDS_BETWEEN_WORDS)
        yield Finished(text, usage=Usage(sum(len(said.text) for said in ask.messages) // 4, len(text) // 4))

    async def check(self, assistant: Assistant) -> None:
        """It always answers."""

    async def transcribe(self, model: str, recording: Recording) -> Transcript:
        """It hears nothing."""
        raise ModelTrouble(TroubleKind.PATH_UNKNOWN, "the stand-in transcribes nothing")

    async def windows(self, models: Collection[str]) -> Mapping[str, int]:
        """It takes whatever there is."""
        return {}

    async def shutdown_dates(self, models: Collection[str], *, offline: bool) -> Mapping[str, date]:
        """It never ends."""
        return {}

    async def close(self) -> None:
        """Nothing is open."""

    def _compose(self, ask: Ask) -> str:
        said_to_me = [said.to_who_reads(("images", "pdf")) for said in ask.messages]
        questions = [_quote(without_setting(said.text)) for said in said_to_me if said.role == "user"]
        *earlier, question = questions
        name = ask.assistant.name
        if not earlier:
            memory = "This is the first thing you say to me here."
        else:
            count = "one thing" if len(earlier) == 1 else f"{len(earlier)} things"
            memory = f"Before that you said {count}: {', '.join(earlier[-MOST_REMEMBERED:])}."
        return f"[offline stand-in, as {name}] You said {question}. {memory}"


def _quote(text: str) -> str:
    short = text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"
    return f"“{' '.join(short.split())}”"
