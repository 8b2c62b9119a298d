"""How a message of a person is taken in: whether it is meant for us, may be asked, and is a command or a question."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from bots.shared.asked_again import again_key, may_be_asked_again
from bots.shared.bare_mentions import BareMentions
from bots.shared.controls import Controls, command_in
from bots.shared.incoming import Incoming
from bots.shared.prepare import Preparing, setting_of
from core import (
    AFTER_THE_ANSWER,
    ANOTHER_THREAD,
    NO_MENTION,
    ROLE_MENTION,
    SAID_BEFORE,
    SOMEBODY_ELSE,
    BadQuestion,
    Chat,
    Event,
    Fate,
    Line,
    OnlyApps,
    Outcome,
    Question,
    Rejected,
    Sentence,
    Turn,
)

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_HINTS = 60.0
SAY_IT_IN_ONE = Sentence("Please say what you want to know in the message that mentions me: I hear nothing else here.")
SECONDS_TO_CHECK = 1.5  # whether somebody may do a thing that is done at once

Accept = Callable[[Question], Awaitable[object]]
Say = Callable[[Incoming, Sentence], None]
Complete = Callable[[Incoming], Awaitable[Incoming]]
Offer = Callable[[Turn, Incoming], None]
Became = tuple[Fate, str]
"""What became of a message that is no turn, and why."""


class Intake:
    """Takes in the messages of one surface. All methods may be called again with what was delivered again.

    `accept` is a responder's; `say` posts a sentence beside a message, in the background. With `controls`, messages may
    be commands. Whoever may not ask is told so here; without `refuses_at_once`, by the answer to what they asked.
    `complete` finds out what is worth a look only once a message is to be asked. What one author says within
    `join_seconds` in one place is one question; with 0, each message is one. `offer` shows the author of a turn that is
    answered already, in the background, how to ask again what the message reads now.

    Methods raise ComeAgain where that is not for whoever said it to hear: it has to be taken in again.
    """

    def __init__(
        self,
        chat: Chat,
        surface: str,
        accept: Accept,
        preparing: Preparing[Any],
        say: Say,
        *,
        controls: Controls | None = None,
        complete: Complete | None = None,
        refuses_at_once: bool = True,
        join_seconds: float = 0.0,
        offer: Offer | None = None,
    ) -> None:
        self._chat = chat
        self._surface = surface
        self._accept = accept
        self._preparing = preparing
        self._say = say
        self._controls = controls
        self._complete = complete
        self._refuses_at_once = refuses_at_once
        self._join_seconds = join_seconds
        self._offer = offer
        self._hints = _Hints()
        self._bare_mentions = BareMentions(chat, surface)

    async def message(self, incoming: Incoming) -> None:
        """Take in a message."""
        if (became := await self._taken_in(incoming)) is not None:
            self._note(incoming.key, *became, session=incoming.session, person=incoming.person)

    async def _taken_in(self, incoming: Incoming) -> Became | None:
        """Take in a message, and give what became of it where no turn tells that."""
        refusal = self._preparing.refusal_at_once(incoming.destination)
        if incoming.by_app:
            return await self._taken_in_of_app(incoming, refusal)
        if incoming.is_bare and refusal is None:
            return await self._bare_mention(incoming)
        if incoming.may_go_on and not incoming.needs_no_mention:
            incoming = await self._bare_mentions.gone_on_from(incoming)
        if not incoming.is_addressed and (why_not := await self._why_not_meant_for_us(incoming)):
            return Fate.NOT_ADDRESSED, why_not
        if refusal is not None and not incoming.is_addressed:
            return Fate.NOT_ALLOWED, setting_of(refusal)
        command = command_in(incoming.text) if self._controls is not None else None
        if command is not None:
            return await self._carry_out(incoming, *command)
        if refusal is not None and self._refuses_at_once:
            if not await self._chat.known_events(self._surface, [incoming.key]):
                await self._say_once(incoming, refusal, incoming.key)
            return Fate.NOT_ALLOWED, setting_of(refusal)
        if incoming.unreadable:
            if not incoming.is_addressed:  # most of what is said in a thread is said among others
                await self._say_once(incoming, incoming.unreadable, f"mention-me:{incoming.channel}")
            elif self._hints.may_be_given_in(incoming.channel):
                await self._say_once(incoming, incoming.unreadable, incoming.key)
            return Fate.UNREADABLE, ROLE_MENTION if incoming.mentions_us else NO_MENTION
        await self._ask(incoming)
        return None

    async def _taken_in_of_app(self, incoming: Incoming, refusal: Sentence | None) -> Became | None:
        if not incoming.mentions_us:
            return Fate.NOT_ADDRESSED, NO_MENTION
        if refusal is not None:
            return Fate.NOT_ALLOWED, setting_of(refusal)
        if incoming.is_bare or incoming.unreadable:
            return Fate.UNREADABLE, NO_MENTION
        await self._ask_for_app(incoming)
        return None

    def note_unheard(self, key: str, session: str, setting: str) -> None:
        """Keep that an app mentioned us in this message, which a setting does not let us hear."""
        self._note(key, Fate.NOT_ALLOWED, setting, session=session, person=None)

    def _note(self, key: str, fate: Fate, why: str, *, session: str, person: str | None) -> None:
        """Keep what became of a message with this key, or of a change of it, where no turn tells."""
        self._chat.stories.note(
            Event(surface=self._surface, event_id=key, fate=fate, why=why, session=session, person=person)
        )

    async def edited(self, now: Incoming, event_id: str, *, before: Incoming | None = None) -> None:
        """Answer the new text of a message, where its answer is not written yet; or that it mentions us by now.

        Where there is an answer its author is offered once to ask again.

        `before` is how it read, where the platform says so.
        """
        if before is not None and (before.text, before.mentions_us) == (now.text, now.mentions_us):
            return
        turn = await self._last_turn_of(now.key)
        if turn is None:
            if now.mentions_us and (before is None or not before.mentions_us or before.is_bare):
                await self.message(now)
            return
        if not now.text or (before is not None and before.text == now.text):
            return
        if turn.over and (self._offer is None or now.by_app or now.text == turn.question):
            return
        refusal = await self._preparing.refusal(now.destination, SECONDS_TO_CHECK)
        if refusal is not None:
            self._note_change(turn, now.key, Fate.NOT_ALLOWED, setting_of(refusal))
            return
        async with self._chat.control(self._surface, event_id) as fresh:
            if fresh and turn.over:
                self._note_change(turn, now.key, Fate.EDITED, AFTER_THE_ANSWER)
                await self._offer_to_ask_again(turn, now)
            elif fresh:
                await self._amend(turn, now)

    async def _amend(self, turn: Turn, now: Incoming) -> None:
        try:
            if not await self._chat.amend(turn, now.text, event_id=now.key):
                self._note_change(turn, now.key, Fate.EDITED, AFTER_THE_ANSWER)
        except BadQuestion as refusal:  # then what was asked first is answered
            self._note_change(turn, now.key, Fate.EDITED, type(refusal).__name__)

    def _note_change(self, turn: Turn, key: str, fate: Fate, why: str) -> None:
        """Keep what became of a change of a message that is a turn."""
        self._note(key, fate, why, session=turn.session, person=turn.person)

    async def _offer_to_ask_again(self, turn: Turn, now: Incoming) -> None:
        if self._offer is not None and may_be_asked_again(turn):
            async with self._chat.control(self._surface, f"offer:{now.key}") as fresh:
                if fresh:
                    self._offer(turn, now)

    async def deleted(self, key: str, message: str) -> None:
        """Take back a message that was deleted, whoever it is; or end the answer of which it was a part.

        What it asked and was answered already is forgotten. `message` is its id as `Chat.showing` knows it.
        """
        turn = await self._last_turn_of(key)
        if turn is not None:
            is_withdrawn = await self._chat.withdraw(turn, event_id=key)
            left = [each for each in (key, again_key(key)) if not (is_withdrawn and each == turn.event_id)]
            if any([await self._forget(each) for each in left]):
                self._note_change(turn, key, Fate.DELETED, AFTER_THE_ANSWER)
            return
        shown_by = await self._chat.showing(self._surface, message)
        if shown_by is not None and not shown_by.over:
            await self._chat.stop(shown_by.id)

    async def _forget(self, key: str) -> bool:
        """Forget a turn whose message was deleted. False where there is none, or its deletion came in time."""
        turn = await self._chat.turn_of(self._surface, key)
        if turn is None or turn.outcome is Outcome.WITHDRAWN:  # maybe by another process, which heard of it as well
            return False
        if await self._chat.forget_turn(turn):
            logger.info("turn %s is forgotten: its message was deleted", turn.reference)
        return True

    async def _last_turn_of(self, key: str) -> Turn | None:
        """The turn that a message became, at last when it was asked again."""
        turn = await self._chat.turn_of(self._surface, key)
        if turn is None or not turn.over:
            return turn
        return await self._chat.turn_of(self._surface, again_key(key)) or turn

    async def tell_how_to_ask(self, mention: Incoming) -> None:
        """Say to a bare mention that words belong into it, unless it waits for what is said next."""
        self._note(mention.key, Fate.BARE_MENTION, "", session=mention.session, person=mention.person)
        if not await self._bare_mentions.is_noted(mention) and self._hints.may_be_given_in(mention.channel):
            await self._say_once(mention, SAY_IT_IN_ONE, mention.key)

    async def _bare_mention(self, mention: Incoming) -> Became | None:
        if not mention.next_is_heard:
            await self.tell_how_to_ask(mention)
            return None
        await self._bare_mentions.note(mention)
        return Fate.BARE_MENTION, ""

    async def _why_not_meant_for_us(self, incoming: Incoming) -> str:
        """Why a message that does not address us is not meant for us; empty where it is."""
        if incoming.needs_no_mention:
            return ""
        if not incoming.is_follow_up:
            return SOMEBODY_ELSE if incoming.is_for_somebody_else else NO_MENTION
        first = await self._chat.engaged_by(incoming.session)
        if first is None:
            return ANOTHER_THREAD
        # What was said before it, but is delivered late, was told along with it.
        return "" if incoming.is_after(first.destination or {}) else SAID_BEFORE

    async def _carry_out(self, incoming: Incoming, command: str, about: str) -> Became:
        assert self._controls is not None
        async with self._chat.control(self._surface, incoming.key) as fresh:
            if not fresh:
                return Fate.DUPLICATE, ""
            refusal = await self._preparing.refusal(incoming.destination, SECONDS_TO_CHECK)
            sentence = refusal or await self._controls.in_words(incoming, command, about)
            if sentence and (incoming.is_addressed or not refusal):
                self._say(incoming, sentence)
            return (Fate.COMMAND, command) if refusal is None else (Fate.NOT_ALLOWED, setting_of(refusal))

    async def _ask(self, incoming: Incoming) -> None:
        line = None
        if self._join_seconds and incoming.line_key:
            line = Line(incoming.line_key, incoming.said_at, self._join_seconds, may_follow=incoming.joins_earlier)
        if self._complete is not None:
            incoming = await self._complete(incoming)
        try:
            await self._accept(replace(incoming.question(self._surface), line=line))
        except Rejected as rejection:
            await self._say_once(incoming, rejection.sentence, incoming.key)

    async def _ask_for_app(self, incoming: Incoming) -> None:
        """Ask what an app says. It is told nothing but answers, since it may answer whatever it is told."""
        if self._complete is not None:
            incoming = await self._complete(incoming)
        try:
            await self._accept(incoming.question(self._surface))
        except OnlyApps as enough:
            async with self._chat.control(self._surface, f"only-apps:{incoming.session}:{enough.turns}") as fresh:
                if fresh:
                    logger.warning("an app is not answered on %s: apps alone asked there lately", self._surface)
        except Rejected as rejection:
            logger.info("what an app said on %s is not asked: %s", self._surface, type(rejection).__name__)

    async def _say_once(self, incoming: Incoming, sentence: Sentence, key: str) -> None:
        """Say something to a message; the next time with this key, nothing."""
        async with self._chat.control(self._surface, key) as fresh:
            if fresh:
                self._say(incoming, sentence)


class _Hints:
    """Where somebody was told lately how to be read: once a minute in each channel."""

    def __init__(self) -> None:
        self._next_at: dict[str, float] = {}

    def may_be_given_in(self, channel: str) -> bool:
        now = asyncio.get_running_loop().time()
        self._next_at = {place: at for place, at in self._next_at.items() if at > now}
        if channel in self._next_at:
            return False
        self._next_at[channel] = now + SECONDS_BETWEEN_HINTS
        return True
