"""Why somebody's own question was answered, or was not, told to them alone: what became of it, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Self

from bots.shared.incoming import Origin
from bots.shared.surface import Link
from core import (
    ANOTHER_THREAD,
    ROLE_MENTION,
    SOMEBODY_ELSE,
    Chat,
    Event,
    Fate,
    Outcome,
    PasswordsClosed,
    Sentence,
    Story,
    TurnStory,
    failure_as_stored,
)

NO_QUESTION = Sentence("I know of no question of yours.")
NOT_HEARD = Sentence(
    "I know nothing of that message, or it is not yours. What I hear has to mention me, or to be said in a thread "
    "where I take part, in a channel that I am in."
)
NOT_ALLOWED = Sentence("As I am set up, I may not answer there, or not you. Whoever runs me can change that.")
JOINED = Sentence("It is one question with what you said right before or after it.")
CHANGED = Sentence("You changed it before it was answered.")
RECLAIMED = Sentence("I was interrupted in the middle of it, and went on.")
CHANGED_TOO_LATE = Sentence("It was answered before you changed it.")
DELETED_TOO_LATE = Sentence("It was answered before you deleted it.")
HEARD_IT, BEGAN, ENDED = "I heard it {time}.", "I began with it {time}.", "It was over {time}."
REFERENCE = "Its reference is {reference}."

OF_TURNS = {
    Outcome.ANSWERED: Sentence("I answered it."),
    Outcome.INCOMPLETE: Sentence("I answered it, but the language model broke off."),
    Outcome.STOPPED: Sentence("Somebody stopped the answer."),
    Outcome.UNDELIVERABLE: Sentence("I had an answer, but its place does not let me show it."),
    Outcome.INTERRUPTED: Sentence("I was interrupted, and could not finish the answer."),
    Outcome.FORGOTTEN: Sentence("It was forgotten, as somebody wanted."),
    Outcome.WITHDRAWN: Sentence("It was deleted before it was answered."),
    Outcome.SUPERSEDED: Sentence("Another question took its place."),
}
OF_EVENTS = {
    Fate.COMMAND: Sentence("It was a command, which I carried out."),
    Fate.NOT_ALLOWED: NOT_ALLOWED,
    Fate.REFUSED: Sentence("It could not be asked as it was, so I asked nobody, and said why."),
    Fate.BARE_MENTION: Sentence("It only mentioned me, so I waited for what you would say next."),
}
ANSWERING = Sentence("I am at work on it.")
WAITING = "It waits for {count} earlier questions of its conversation."
NOT_TO_ME = Sentence("It did not mention me, so I took it for something said to others.")
NOT_MY_THREAD = Sentence("I take no part in that thread: mention me there once.")
TO_SOMEBODY_ELSE = Sentence("It begins with somebody else's mention, so I took it for something said to them.")
BY_A_ROLE = Sentence("It mentions a role of mine, so I am not shown its words. Mention me by my name.")
UNREADABLE = Sentence("I am shown only the words of messages that mention me.")
OVER_A_LIMIT = Sentence("Too much came at once, so it was not taken.")


class Several(Sentence):
    """Sentences, one after the other."""

    sentences: Sequence[Sentence]

    @classmethod
    def of(cls, sentences: Sequence[Sentence]) -> Self:
        """These sentences."""
        made = cls(" ".join(sentences))
        made.sentences = sentences
        return made

    def in_language(self, locale: str) -> str:
        """How they read in the language of a locale."""
        return " ".join(each.in_language(locale) for each in self.sentences)


class Why:
    """Tells people of their own questions on one surface. `moment` writes a time as the platform shows it to each."""

    def __init__(self, chat: Chat, surface: str, moment: Callable[[float], str]) -> None:
        self._chat = chat
        self._surface = surface
        self._moment = moment

    async def told(self, origin: Origin, link: Link | None = None) -> Sentence:
        """What became of this person's last question, or of their message at a link.

        Of what anybody else said nothing is told, nor whether there is any. Raises StoreUnavailable.
        """
        if link is None:
            stories = await self._chat.stories.of_person(origin.person, limit=1)
        else:
            stories = await self._chat.stories.of_message(self._surface, link.message)
        theirs = [each for each in stories if each.person == origin.person and _surface_of(each) == self._surface]
        if not theirs:
            return NO_QUESTION if link is None else NOT_HEARD
        return Several.of([*self._lines(theirs[-1])])

    def _lines(self, story: Story) -> Iterator[Sentence]:
        turn = story.turn
        if turn is None:
            yield became(story.events[-1])
            yield Sentence(HEARD_IT, time=self._moment(story.at))
            return
        yield (outcome := answered(turn))
        if story.joined:
            yield JOINED
        if turn.changes and turn.outcome is not Outcome.WITHDRAWN:
            yield CHANGED
        if turn.reclaims:
            yield RECLAIMED
        fates = {each.fate for each in story.events}
        if Fate.EDITED in fates:
            yield CHANGED_TOO_LATE
        if Fate.DELETED in fates:
            yield DELETED_TOO_LATE
        yield Sentence(HEARD_IT, time=self._moment(turn.accepted_at))
        if turn.started_at is not None:
            yield Sentence(BEGAN, time=self._moment(turn.started_at))
        if turn.closed_at is not None:
            yield Sentence(ENDED, time=self._moment(turn.closed_at))
        if turn.reference not in outcome:  # as it is in the sentence of a failure
            yield Sentence(REFERENCE, reference=turn.reference)


def answered(turn: TurnStory) -> Sentence:
    """What became of a turn, in one sentence for whoever asked."""
    if turn.outcome is None:
        return Sentence(WAITING, count=turn.waits_behind) if turn.waits_behind else ANSWERING
    if turn.outcome is Outcome.FAILED:
        return failure_as_stored(turn.error).sentence
    if turn.outcome is Outcome.REFUSED:
        return PasswordsClosed.sentence if turn.failure == PasswordsClosed.__name__ else NOT_ALLOWED
    return OF_TURNS[turn.outcome]


def became(event: Event) -> Sentence:
    """What became of an event that is no turn, in one sentence for whoever it is from."""
    if event.fate is Fate.NOT_ADDRESSED:
        return {ANOTHER_THREAD: NOT_MY_THREAD, SOMEBODY_ELSE: TO_SOMEBODY_ELSE}.get(event.why, NOT_TO_ME)
    if event.fate is Fate.UNREADABLE:
        return BY_A_ROLE if event.why == ROLE_MENTION else UNREADABLE
    return OF_EVENTS.get(event.fate, OVER_A_LIMIT)


def _surface_of(story: Story) -> str:
    return story.turn.surface if story.turn is not None else story.events[-1].surface
