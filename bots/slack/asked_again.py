"""A question in Slack that was changed after it was answered: the button that its author alone sees, and what it does.

What it reads by then is fetched, since nothing of it is kept until it is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from bots.shared.asked_again import ASK_AGAIN, CANNOT_BE_READ, OFFER, AskedAgain
from bots.slack.api import SlackApi
from bots.slack.destination import Destination, destination_of_turn
from bots.slack.shape import is_timestamp
from bots.slack.words import SURFACE, Incoming, message_key, parse_message
from core import Chat, Json, Question, Sentence, Turn

ACTION = "ask_again"
SECONDS_TO_READ = 10.0
SECONDS_TO_LEARN_A_LOCALE = 3.0

Complete = Callable[[Incoming], Awaitable[Incoming]]
LocaleOf = Callable[[str, float], Awaitable[str]]


class SlackAskedAgain:
    """Offers people to ask again, and does it."""

    def __init__(
        self, api: SlackApi, chat: Chat, locale_of: LocaleOf, accept: Callable[[Question], Awaitable[Turn | None]],
        complete: Complete,
    ) -> None:  # fmt: skip
        self._api = api
        self._chat = chat
        self._locale_of = locale_of
        self._complete = complete
        self._asked_again = AskedAgain(chat, SURFACE, accept)

    async def offer(self, turn: Turn, incoming: Incoming) -> None:
        """Show the button under a question, to its author."""
        to, locale = destination_of_turn(turn), await self._locale_of(incoming.user, SECONDS_TO_LEARN_A_LOCALE)
        offer = OFFER.in_language(locale)
        button = {
            "type": "button", "action_id": ACTION,
            "text": {"type": "plain_text", "text": ASK_AGAIN.in_language(locale)},
            "value": f"{incoming.thread}:{incoming.ts}",
        }  # fmt: skip
        blocks: list[Json] = [
            {"type": "section", "text": {"type": "mrkdwn", "text": offer}},
            {"type": "actions", "elements": [button]},
        ]
        await self._api.attempt(
            "chat.postEphemeral", channel=to["channel"], thread_ts=to["thread"], user=incoming.user, text=offer,
            blocks=blocks,
        )  # fmt: skip

    async def ask(self, install: str, channel: str, person: str, value: str, at: str) -> Sentence:
        """Do what the button with this value is for, and give what to say to that. `at` is when it was pressed."""
        thread, _, ts = value.partition(":")
        if not (ts and is_timestamp(ts) and is_timestamp(thread)):
            return CANNOT_BE_READ

        async def read(turn: Turn) -> Incoming | None:
            return await self._read(destination_of_turn(turn), thread, ts, at)

        return await self._asked_again.ask(message_key(install, channel, ts), person, read)

    async def _read(self, to: Destination, thread: str, ts: str, at: str) -> Incoming | None:
        found = await self._api.attempt(
            "conversations.replies", seconds=SECONDS_TO_READ, channel=to["channel"], ts=thread, oldest=ts, latest=ts,
            inclusive=True, limit=2,
        )  # fmt: skip
        messages = [each for each in found.get("messages") or () if isinstance(each, dict) and each.get("ts") == ts]
        if not messages:
            return None
        whose = {"authorizations": [{"user_id": to["bot"], "team_id": to["install"]}]}
        event = {**messages[0], "type": "message", "channel": to["channel"], "channel_type": to["kind"]}
        incoming = parse_message(whose, event, self._chat.masked, masked_speech=self._chat.masked_speech)
        if incoming is None or incoming.is_bare or incoming.user != to["user"]:
            return None
        quoted = (await self._complete(incoming)).destination.get("quoted")
        asked_now = at if at and is_timestamp(at) else ts
        destination = {
            **to, "ts": asked_now, "shown": incoming.content.shown, "quoted": quoted, "addressed": True,
            "files": [*incoming.content.files],
        }  # fmt: skip
        return replace(incoming, destination=destination)
