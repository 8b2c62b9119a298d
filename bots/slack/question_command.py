"""`/bob QUESTION`: a question typed as a command: it is shown where it was typed, and answered in a thread there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from bots.shared.incoming import Incoming, Origin
from bots.slack.api import PLACE_IS_GONE, SlackApi
from bots.slack.content import readable
from bots.slack.destination import Destination
from bots.slack.reply import CANNOT_SAY_IT_THERE, NOTICE
from bots.slack.words import SURFACE, message_key, place_id, question_shown, session_id
from core import QUESTION_NOT_SHOWN, Chat, Event, Fate, Json, NotAccepted, Question, Sentence, Turn

SECONDS_TO_SHOW = 1.2  # a question: what remains of Slack's three seconds once it is known that somebody may ask
LONGEST_TRIGGER = 100
NOT_SHOWN = Sentence(
    "Sorry, Slack does not let me show your question right now, so I did not ask it. Please try again shortly."
)

Accept = Callable[[Question], Awaitable[Turn | None]]


class QuestionCommand:
    """Asks what people type after `/bob`."""

    def __init__(self, api: SlackApi, chat: Chat, accept: Accept, tasks: asyncio.TaskGroup) -> None:
        self._api = api
        self._chat = chat
        self._accept = accept
        self._tasks = tasks

    async def ask(self, body: Json, origin: Origin, install: str, bot: str, locale: str) -> Sentence | None:
        """Come back once what a command asks is durable; or with a sentence that says why it is not asked.

        It is shown first, since the answer belongs in the thread of that message. A command that is delivered again is
        one question, and a message whose question is not accepted is taken back. A process that dies in between, or
        does not hear from Slack that it was posted, may leave a message that nobody answers. Words that may be
        passwords are masked in it, and then it has no words at all until it is known that they were read.
        """
        trigger = str(body.get("trigger_id") or "")[:LONGEST_TRIGGER]
        gesture = f"gesture:command:{trigger}" if trigger else None
        text = readable(str(body.get("text") or "")).strip()
        try:
            self._chat.check_not_draining()
            if gesture and await self._chat.known_events(SURFACE, [gesture]):
                return None
            channel, user = str(body.get("channel_id") or ""), str(body.get("user_id") or "")
            masked = self._chat.masked(text)
            posted = await self._shown(channel, question_shown(user, text if text == masked else "", locale))
            if "ts" not in posted:
                self._note_not_shown(origin)
                return CANNOT_SAY_IT_THERE if posted.get("error") in PLACE_IS_GONE else NOT_SHOWN
            team, ts = str(body.get("team_id") or install), str(posted["ts"])
            destination: Destination = {
                "install": install, "team": team, "bot": bot, "user": user, "channel": channel, "user_team": team,
                "kind": "im" if channel.startswith("D") else "channel", "ts": ts, "thread": ts, "stranger": False,
                "addressed": True, "by_command": True,
            }  # fmt: skip
            incoming = Incoming(
                key=message_key(install, channel, ts), gesture=gesture, session=session_id(install, channel, ts),
                place=place_id(install, channel), channel=channel, person=origin.person, text=text,
                destination=destination, asker="" if destination["kind"] == "im" else user,
            )  # fmt: skip
            turn = await self._ask(incoming, ts)
            if turn is not None and text != masked and not turn.unread:  # of what was not read nothing is to be found
                told = question_shown(user, masked, locale)
                self._tasks.create_task(self._api.attempt("chat.update", channel=channel, ts=ts, text=told))
        except NotAccepted as refusal:
            return refusal.sentence
        return None

    def _note_not_shown(self, origin: Origin) -> None:
        self._chat.stories.note(
            Event(
                surface=SURFACE, event_id=None, fate=Fate.REFUSED, why=QUESTION_NOT_SHOWN, session=origin.session,
                person=origin.person,
            )
        )  # fmt: skip

    async def _shown(self, channel: str, text: str) -> Json:
        """What Slack says to a message; nothing where it says that too late. Then the message is taken back."""
        posting = self._tasks.create_task(
            self._api.attempt(
                "chat.postMessage", channel=channel, text=text, unfurl_links=False, unfurl_media=False,
                metadata={"event_type": NOTICE, "event_payload": {}},
            )
        )  # fmt: skip
        await asyncio.wait({posting}, timeout=SECONDS_TO_SHOW)
        if posting.done():
            return posting.result()
        self._tasks.create_task(self._take_back_late(channel, posting))
        return {}

    async def _ask(self, incoming: Incoming, ts: str) -> Turn | None:
        try:
            turn = await self._accept(incoming.question(SURFACE))
        except NotAccepted:
            self._take_back(incoming.channel, ts)
            raise
        if turn is None:  # the same command was delivered twice at once
            self._take_back(incoming.channel, ts)
        return turn

    def _take_back(self, channel: str, ts: str) -> None:
        self._tasks.create_task(self._api.attempt("chat.delete", channel=channel, ts=ts))

    async def _take_back_late(self, channel: str, posting: asyncio.Task[Json]) -> None:
        if ts := (await posting).get("ts"):
            await self._api.attempt("chat.delete", channel=channel, ts=ts)
