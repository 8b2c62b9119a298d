"""Transcription: what is said in a recording, written down by the language model's server, or why it is not.

No trouble with it touches the circuit breakers: who writes is answered, whether or not somebody speaks.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence

from core.attachments import MOST_CHARACTERS_OF_TEXT, GivenFile
from core.backoff import exponential_backoff
from core.language_model import LanguageModel, ModelTrouble, Recording, Transcript, TroubleKind
from core.wording import (
    NO_TIME_TO_TRANSCRIBE,
    NOTHING_SAID,
    RECORDING_REFUSED,
    RECORDING_TOO_LARGE,
    RECORDING_TOO_LONG,
    TRANSCRIBED_LATER,
    TRANSCRIBES_NOTHING,
)

logger = logging.getLogger(__name__)

MOST_BYTES = 25_000_000  # that OpenAI takes
MOST_TRIES = 3
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 8.0
SECONDS_UNTIL_ASKED_AGAIN = 600.0  # whether a server that transcribed nothing does by now

_IS_MISSING = (TroubleKind.PATH_UNKNOWN, TroubleKind.MODEL_UNKNOWN)
_REASONS = {
    TroubleKind.TOO_LONG: RECORDING_TOO_LONG,
    TroubleKind.REQUEST_REFUSED: RECORDING_REFUSED,
    TroubleKind.FILES_REFUSED: RECORDING_REFUSED,
    TroubleKind.FILES_REFUSED_UNWRITTEN: RECORDING_REFUSED,
    TroubleKind.QUESTION_REFUSED: RECORDING_REFUSED,
    TroubleKind.QUESTION_REFUSED_UNWRITTEN: RECORDING_REFUSED,
    TroubleKind.PATH_UNKNOWN: TRANSCRIBES_NOTHING,
    TroubleKind.MODEL_UNKNOWN: TRANSCRIBES_NOTHING,
}


class NotTranscribed(Exception):
    """A recording was not transcribed, for this `problem`, which is shown after its name."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class Transcription:
    """Transcribes recordings with the model of this name; with none it transcribes nothing.

    `keywords` are names that may be said in them.
    """

    def __init__(self, model: LanguageModel, name: str, keywords: Sequence[str] = ()) -> None:
        self._model = model
        self._name = name
        self._keywords = keywords
        self._missing_until = -math.inf  # by the clock of the event loop
        self._is_said = False

    async def transcript(self, given: GivenFile, media_type: str, *, until: float) -> Transcript:
        """What is said in a recording, on one line; it takes no longer than `until`, by the clock of the event loop.

        Raises NotTranscribed.
        """
        if not self._name or asyncio.get_running_loop().time() < self._missing_until:
            raise NotTranscribed(TRANSCRIBES_NOTHING)
        if given.size > MOST_BYTES:
            raise NotTranscribed(RECORDING_TOO_LARGE)
        recording = Recording(given.data, given.size, media_type, self._keywords)
        try:
            async with asyncio.timeout_at(until):
                transcript = await self._again_and_again(recording)
        except TimeoutError:
            raise NotTranscribed(NO_TIME_TO_TRANSCRIBE) from None
        except ModelTrouble as trouble:
            self._learn(trouble)
            raise NotTranscribed(_REASONS.get(trouble.kind, TRANSCRIBED_LATER)) from trouble
        text = storable(transcript.text)
        if not text:
            raise NotTranscribed(NOTHING_SAID)
        return Transcript(text, transcript.seconds)

    async def _again_and_again(self, recording: Recording) -> Transcript:
        """Try several times where that may help: nothing is kept of a try."""
        backoff = exponential_backoff(FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS)
        for tries_left in reversed(range(MOST_TRIES)):
            try:
                return await self._model.transcribe(self._name, recording)
            except ModelTrouble as trouble:
                may_help = trouble.handling.retry in ("after a pause", "at once", "once")
                pause = max(next(backoff), trouble.retry_after or 0.0)
                if not (tries_left and may_help) or pause > LONGEST_BACKOFF_SECONDS:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last try came to no end")

    def _learn(self, trouble: ModelTrouble) -> None:
        """Say why a recording was not transcribed, and ask no more for a while where nothing is."""
        if trouble.kind not in _IS_MISSING:
            logger.warning("a recording was not transcribed: %s", trouble.cause)
            return
        self._missing_until = asyncio.get_running_loop().time() + SECONDS_UNTIL_ASKED_AGAIN
        if not self._is_said:
            self._is_said = True
            logger.warning(
                "No recordings are transcribed: the server has nothing that does, or no model %s (%s). "
                "TRANSCRIPTION_MODEL names another; set to nothing, none is asked.",
                self._name, trouble.cause,
            )  # fmt: skip


def storable(transcript: str) -> str:
    """A transcript on one line, without what no database takes, and no longer than the text of a file may be."""
    whole = transcript.replace("\0", "").encode("utf-8", "replace").decode()
    return " ".join(whole.split())[:MOST_CHARACTERS_OF_TEXT]
