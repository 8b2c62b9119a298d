"""What is found out before a question is asked: whether its person may ask, and what was said around it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar, cast

from bots.shared.content import MORE, MOST_UNREAD, Content
from bots.shared.quotes import LEFT_OUT, Quotes
from bots.shared.reply import InDoubt, Undeliverable
from bots.shared.words import EARLIER_IN_THIS_THREAD, NO_WORDS, OVERHEARD, after_a_gap, names_of_files
from core import Attachment, Chat, Frame, NotAllowed, Preparation, Refusal, Remarks, Sentence, Turn

SECONDS_TO_CHECK = 20.0
LONGEST_EARLIER_MESSAGE = 2_000
MOST_PEOPLE = 100
SECONDS_OVERHEARD = 3_600.0  # before a question
SECONDS_TO_OVERHEAR = 5.0
SECONDS_FOR_FILES = 30.0
NOT_SURE = Sentence("Sorry, I could not find out whether I may answer you. Please ask again in a minute.")
MOST_REMEMBERED = 10_000


def setting_of(refusal: Sentence) -> str:
    """The setting by which somebody may not ask; empty where that could not be found out."""
    return refusal.setting if isinstance(refusal, Refusal) else ""


K = TypeVar("K")
V = TypeVar("V")
Destination = TypeVar("Destination", bound=Mapping[str, Any])


class Preparing(Generic[Destination]):
    """Prepares the turns of one surface. Everybody may ask and nothing is fetched, unless a platform's own says more.

    A place where something is said, and by whom, is known by its destination.
    """

    failures: tuple[type[Exception], ...] = (TimeoutError, InDoubt, Undeliverable)
    """What may come of a look at who somebody is."""

    def __init__(self, chat: Chat, surface: str, quotes: Quotes | None = None) -> None:
        self._chat = chat
        self._surface = surface
        self.quotes = quotes or Quotes(chat, surface)

    async def __call__(self, turn: Turn) -> Preparation:
        """Prepare a turn. Raises NotAllowed."""
        destination = cast(Destination, turn.destination or {})
        refusal = await self.refusal(destination, SECONDS_TO_CHECK)
        if refusal is not None:
            told = refusal if destination.get("addressed", True) else Sentence("")
            raise NotAllowed(told, by=setting_of(refusal))
        if turn.said_password:
            await self._warn(destination)
        return await self._prepared(turn, destination)

    async def refusal(self, destination: Destination, seconds: float) -> Sentence | None:
        """Why this person may not ask here, found out within so many seconds; None if they may."""
        refusal = self.refusal_at_once(destination)
        if refusal is not None or not self._needs_a_look(destination):
            return refusal
        try:
            async with asyncio.timeout(seconds):
                return await self._refusal_after_a_look(destination)
        except self.failures:
            return NOT_SURE

    def refusal_at_once(self, destination: Destination) -> Sentence | None:
        """Why this person may not ask here, as far as that needs no look at who they are."""
        return None

    def _needs_a_look(self, destination: Destination) -> bool:
        """Whether it takes a look at who somebody is."""
        return False

    async def _refusal_after_a_look(self, destination: Destination) -> Sentence | None:
        """Why this person may not ask here, for whom that needs a look. Raises what is in `failures`."""
        return None

    async def _warn(self, destination: Destination) -> None:
        """Tell somebody who typed a password, unless nobody else can read it."""

    async def _prepared(self, turn: Turn, destination: Destination) -> Preparation:
        """What is fetched for a turn whose person may ask."""
        return Preparation()

    async def _spoken(self, turn: Turn, attached: Sequence[Attachment], *wordless: str) -> str | None:
        """The question that its person spoke, where they wrote nothing: then it is NO_WORDS, or one of `wordless`.

        None where they wrote one, or spoke none, or one that is longer than a question may be.
        """
        if turn.question not in (NO_WORDS, *wordless):
            return None
        said = await self._chat.said_in(attached)
        return said if said and len(said) <= self._chat.longest_question else None

    def _with_unread(self, frame: Frame, unread: Iterable[str]) -> Frame:
        """A frame that names what is unread in what was said before, or the first of it."""
        names = [*dict.fromkeys(names_of_files(unread, self._chat.masked))]
        return replace(frame, beside=names[:MOST_UNREAD] + [MORE][: len(names) > MOST_UNREAD])

    async def _overheard(self, messages: Sequence[Earlier], us: str) -> Context:
        """What others said to each other before a question; see `_never_asked`."""
        told = await self._never_asked(messages, us)
        return Context([Remarks(OVERHEARD, told.said)] if told.said else [], told.unread, told.people)

    async def _of_a_thread(self, thread: EarlierInThread, us: str) -> Context:
        """What was said in a thread before a question; see `_never_asked`."""
        began = await self._never_asked(thread.beginning, us)
        went_on = await self._never_asked(thread.newest, us)
        first, last = began.said, went_on.said
        if thread.left_out == 0:
            first, last = [*first, *last], []
        remarks = [Remarks(EARLIER_IN_THIS_THREAD, first)] if first else []
        remarks += [Remarks(after_a_gap(thread.left_out), last)] if last else []
        return Context(remarks, [*began.unread, *went_on.unread], [*began.people, *went_on.people])

    async def _people(self, turn: Turn, people: Iterable[tuple[str, str]]) -> Sequence[Sequence[str]]:
        """Who takes part in the session of a turn, with which these `people` join it; see `Frame.people`."""
        all_people = [*people, *((name, id_) for name, id_ in await self._chat.people_before(turn))]
        return [*dict.fromkeys(all_people)][:MOST_PEOPLE]

    async def _never_asked(self, messages: Sequence[Earlier], us: str) -> _NeverAsked:
        """Of messages, who said what in those that are no turn, fit to be told; and names of what is unread in them.

        `us` is who we are among the authors of what they quote.
        """
        known = await self._chat.known_events(self._surface, [each.key for each in messages])
        told = _NeverAsked()
        for each in messages:
            if each.key in known:
                continue
            content = replace(each.content, words=self._chat.masked(each.content.words))
            quotes, unread_quotes = await self.quotes.all_to_be_kept(content.quotes, us)
            quoted = [(quote["name"], quote["text"] or LEFT_OUT) for quote in quotes]
            told.said.append((each.speaker, content.told(LONGEST_EARLIER_MESSAGE, quoted)))
            told.unread += [*content.missed, *unread_quotes]
            told.people += [(each.speaker, each.person)] if each.person else []
        return told


@dataclass(frozen=True, slots=True)
class Earlier:
    """A message that was said before a question. `key` is that of the turn that it may be.

    `person` is who said it, as the surface knows them, and empty where that is an app.
    """

    key: str
    speaker: str
    content: Content
    person: str = ""


@dataclass(frozen=True, slots=True)
class EarlierInThread:
    """How a thread began, and what was said in it last, with so many messages between that are `left_out`.

    None: nobody knows how many, but some are.
    """

    beginning: Sequence[Earlier] = ()
    newest: Sequence[Earlier] = ()
    left_out: int | None = 0


@dataclass(frozen=True, slots=True)
class Context:
    """What was said before a question, as it is told, names of what is unread in it, and the people who said it."""

    remarks: Sequence[Remarks] = ()
    unread: Sequence[str] = ()
    people: Sequence[tuple[str, str]] = ()


@dataclass(slots=True)
class _NeverAsked:
    said: list[tuple[str, str]] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    people: list[tuple[str, str]] = field(default_factory=list)


class Remembered(Generic[K, V]):
    """What was looked up, which is known for a while."""

    def __init__(self) -> None:
        self._known: dict[K, tuple[float, V]] = {}

    def is_fresh(self, key: K) -> bool:
        """Whether it need not be looked up again."""
        until, _ = self._known.get(key, (0.0, None))
        return until > time.monotonic()

    def last(self, key: K, otherwise: V) -> V:
        """What was found when it was looked up last."""
        return self._known[key][1] if key in self._known else otherwise

    def remember(self, key: K, value: V, *, seconds: float) -> V:
        """Know it for so many seconds."""
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[key] = time.monotonic() + seconds, value
        return value
