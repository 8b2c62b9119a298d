"""What people tell Bob to do, instead of asking: words in a thread, `/bob`, a shortcut, and the buttons under answers.

All of it acts at once, whatever is being answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bots import controls
from bots.controls import NOT_NOW, NOTHING_TO_STOP, THANKS
from bots.slack_api import SlackApi
from bots.slack_reply import NOTICE
from bots.slack_words import SURFACE, Said, install_of, message_id, person_id, place_id, session_id
from core import BadQuestion, Chat, Json, StoreUnavailable, Turn, WrongPassword

logger = logging.getLogger(__name__)

Refusal = Callable[[Json, float], Awaitable[str | None]]

COMMANDS = ("reset", "stop", "help", "assistant")
SECONDS_TO_CHECK = 1.5  # of the three that Slack waits

HELP = """\
Mention me in a channel, or write to me in a direct message, and I answer in the thread. \
In a thread where I take part I answer without a mention, unless your message opens with somebody else's.
• `stop` ends the answer that is being written.
• `reset` lets a thread begin anew: I no longer look at what was said before.
• `assistant` lists who can answer; `assistant NAME` chooses one for this thread.
In any channel or direct message, for all its threads:
• `/bob assistant NAME` chooses who answers.
• `/bob unlock` asks for a password, in a window that nobody else sees; `/bob lock` takes it back.
The shortcut “Forget this thread” in a message's menu erases what I keep of it."""
SUGGESTED_PROMPTS = [
    {"title": "What can you do?", "message": "What can you help me with, and what can you not do?"},
    {"title": "Explain something", "message": "Explain to me, as to a new colleague: "},
    {"title": "Write a first draft", "message": "Write a first draft of a short message that says: "},
    {"title": "Find the catch", "message": "What could go wrong with this plan? "},
]


def command_in(text: str) -> tuple[str, str] | None:
    """The command that a whole message is, and what it is about; None if it is none."""
    words = text.strip().lstrip("!/").rstrip(".!").split()
    if not words or words[0].casefold() not in COMMANDS:
        return None
    command = words[0].casefold()
    if len(words) > (2 if command == "assistant" else 1):
        return None
    return command, words[1] if len(words) == 2 else ""


class SlackCommands:
    """Carries out what people tell Bob to do in Slack."""

    def __init__(self, api: SlackApi, chat: Chat, refusal: Refusal, tasks: asyncio.TaskGroup) -> None:
        self._api = api
        self._chat = chat
        self._refusal = refusal
        self._tasks = tasks

    def register(self, app: AsyncApp) -> None:
        """Listen to what Bolt hands on."""
        app.command(re.compile(r"^/"))(self._on_slash_command)
        app.view("unlock")(self._on_unlock)
        app.shortcut("forget_thread")(self._on_forget)
        app.view("forget_thread")(self._on_forget_confirmed)
        app.action("feedback")(self._on_feedback)
        app.action(re.compile(""))(_acknowledge)  # links count as buttons too
        app.event("app_home_opened")(self._on_home_opened)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def carry_out(self, said: Said, command: tuple[str, str]) -> None:
        """Do what a message says, once however often it is delivered; what it says to that is posted later."""
        async with self._chat.control(SURFACE, said.key) as fresh:
            if not fresh:
                return
            refusal = await self._refusal(said.reply_to, SECONDS_TO_CHECK)
            sentence = refusal or await self._do(said, *command)
            if sentence and (said.is_addressed or not refusal):
                self.say(said, sentence)

    def say(self, said: Said, sentence: str) -> None:
        """Post a sentence in the thread, in the background."""
        self._tasks.create_task(
            self._api.attempt(
                "chat.postMessage", channel=said.channel, thread_ts=said.thread, text=sentence, unfurl_links=False,
                unfurl_media=False, metadata={"event_type": NOTICE, "event_payload": {}},
            )
        )  # fmt: skip

    async def stop_pressed(self, body: Json, event: Json) -> None:
        """Stop what Slack's own button was pressed on."""
        channel = event.get("channel") or event.get("channel_id") or ""
        session = session_id(install_of(body), channel, event.get("thread_ts") or "")
        async with self._chat.control(SURFACE, f"stop:{body.get('event_id')}") as fresh:
            if not fresh:
                return
            streams = [message_id(channel, ts) for ts in event.get("streaming_message_ts") or ()]
            shown_by = [await self._chat.showing(SURFACE, message) for message in streams]
            turns = [turn for turn in shown_by if turn is not None]
            for turn in turns or (await self._chat.open_turns_in(session))[:1]:
                await self._chat.stop(turn.id)

    async def deleted(self, body: Json, event: Json) -> None:
        """Stop answering a message that its author has deleted."""
        before = event.get("previous_message") or {}
        deleted = event.get("deleted_ts") or before.get("ts") or ""
        session = session_id(install_of(body), event.get("channel") or "", before.get("thread_ts") or deleted)
        for turn in await self._chat.open_turns_in(session):
            if (turn.reply_to or {}).get("ts") == deleted:
                await self._chat.stop(turn.id)

    async def edited(self, body: Json, now: Said) -> None:
        """Answer the new text of a message, where its answer is not written yet."""
        async with self._chat.control(SURFACE, f"edit:{body.get('event_id')}") as fresh:
            for turn in await self._chat.open_turns_in(now.session) if fresh else ():
                if (turn.reply_to or {}).get("ts") == now.ts:
                    with contextlib.suppress(BadQuestion):  # then what was asked first is answered
                        await self._chat.amend(turn, now.text)

    async def _do(self, said: Said, command: str, about: str) -> str | None:
        if command == "stop":
            return await self._stop(said)
        if command == "reset":
            return await controls.reset(self._chat, said.session)
        if command == "assistant":
            return await self._let_choose(
                about, lambda name: self._chat.choose(said.session, SURFACE, name), "this thread"
            )
        return HELP

    async def _stop(self, said: Said) -> str | None:
        """Stop the answer that is being written, and whatever else this person has asked and waits for."""
        before = [turn for turn in await self._chat.open_turns_in(said.session) if _asked_before(turn, said.ts)]
        return None if await controls.stop(self._chat, before, said.person) else NOTHING_TO_STOP

    async def _let_choose(self, name: str, choose_it: Callable[[str], Awaitable[None]], where: str) -> str:
        return await controls.choose(self._chat, name, choose_it, where=where, how="`assistant NAME`")

    # ── /bob ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_slash_command(self, ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        words = str(body.get("text") or "").split()
        about = words[1] if len(words) > 1 else ""
        install = install_of(body)
        person, place = person_id(install, body["user_id"]), place_id(install, body["channel_id"])
        command = words[0].casefold() if words else "help"
        if refusal := await self._refusal(_who_and_where(body), SECONDS_TO_CHECK):
            await ack(refusal)
            return
        try:
            if command == "unlock":
                await ack()
                await client.views_open(trigger_id=body["trigger_id"], view=_unlock_window(place))
            elif command == "lock":
                was_open = await self._chat.lock(person, place)
                await ack("It is locked again here." if was_open else "There is nothing unlocked here.")
            elif command == "assistant":
                await ack(await self._let_choose(about, lambda name: self._chat.choose_in(place, name), "this channel"))
            else:
                await ack(HELP)
        except StoreUnavailable:
            await ack(NOT_NOW)

    async def _on_unlock(self, ack: AsyncAck, body: Json, view: Json) -> None:
        typed = view["state"]["values"]["password"]["typed"].get("value") or ""
        try:
            person = person_id(install_of(body), body["user"]["id"])
            opened = await self._chat.unlock(person, view["private_metadata"], typed)
        except (WrongPassword, StoreUnavailable) as refusal:
            await ack(response_action="errors", errors={"password": str(refusal)})
        else:
            sentence = (
                f"{opened.name} answers you here for the next 15 minutes. In a channel, others can read what is said. "
                "`/bob lock` ends it."
            )
            await ack(response_action="update", view=_window("Unlocked", sentence))

    # ── the shortcut ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_forget(self, ack: AsyncAck, body: Json, client: AsyncWebClient) -> None:
        await ack()
        message = body["message"]
        thread = message.get("thread_ts") or message["ts"]
        session = session_id(install_of(body), body["channel"]["id"], thread)
        await client.views_open(trigger_id=body["trigger_id"], view=_forget_window(session))

    async def _on_forget_confirmed(self, ack: AsyncAck, body: Json, view: Json) -> None:
        session, user = view["private_metadata"], body["user"]["id"]
        try:
            sentence = await controls.forget(
                self._chat, session, person_id(install_of(body), user), is_admin=lambda: self._is_admin(user),
                admins="an admin of this workspace", platform="Slack",
            )  # fmt: skip
        except StoreUnavailable:
            sentence = NOT_NOW
        await ack(response_action="update", view=_window("Forget this thread", sentence))

    async def _is_admin(self, user: str) -> bool:
        try:
            async with asyncio.timeout(SECONDS_TO_CHECK):
                found = (await self._api.attempt("users.info", user=user)).get("user") or {}
        except TimeoutError:
            return False
        return any(found.get(role) for role in ("is_admin", "is_owner", "is_primary_owner"))

    # ── buttons, and the direct message's first sight ────────────────────────────────────────────────────────────────

    async def _on_feedback(self, ack: AsyncAck, body: Json, action: Json) -> None:
        await ack()
        message, channel, user = body["message"], body["channel"]["id"], body["user"]["id"]
        turn = await self._chat.showing(SURFACE, message_id(channel, message["ts"]))
        if turn is None:
            return
        await self._chat.rate(turn, person_id(install_of(body), user), good=action.get("value") == "good")
        logger.info("turn %s was rated", turn.reference)
        await self._api.attempt(
            "chat.postEphemeral", channel=channel, user=user, text=THANKS, thread_ts=message.get("thread_ts")
        )

    async def _on_home_opened(self, event: Json) -> None:
        if event.get("tab") == "messages":
            await self._api.attempt(
                "assistant.threads.setSuggestedPrompts", channel_id=event["channel"], prompts=SUGGESTED_PROMPTS
            )


def _who_and_where(body: Json) -> Json:
    kind = "im" if body["channel_id"].startswith("D") else "channel"
    # Slash commands do not reach an app from other companies' workspaces.
    return {"channel": body["channel_id"], "kind": kind, "user": body["user_id"], "stranger": False}


async def _acknowledge(ack: AsyncAck) -> None:
    await ack()


def _asked_before(turn: Turn, ts: str) -> bool:
    return float((turn.reply_to or {}).get("ts", "inf")) < float(ts)


def _window(title: str, sentence: str, *more: Json, **view: Any) -> Json:
    blocks: Sequence[Json] = [{"type": "section", "text": {"type": "mrkdwn", "text": sentence}}, *more]
    plain = {"type": "plain_text", "text": title}
    return {"type": "modal", "title": plain, "close": {"type": "plain_text", "text": "Close"}, "blocks": blocks, **view}


def _unlock_window(place: str) -> Json:
    typed = {
        "type": "input",
        "block_id": "password",
        "label": {"type": "plain_text", "text": "Password"},
        "element": {"type": "plain_text_input", "action_id": "typed", "max_length": 200},
    }
    sentence = "The assistant that it opens answers you here, and only you, for the next 15 minutes."
    submit = {"type": "plain_text", "text": "Unlock"}
    return _window("Unlock", sentence, typed, callback_id="unlock", private_metadata=place, submit=submit)


def _forget_window(session: str) -> Json:
    sentence = "This erases what I keep of this thread, here and at the language model's provider. It cannot be undone."
    submit = {"type": "plain_text", "text": "Forget"}
    return _window("Forget this thread", sentence, callback_id="forget_thread", private_metadata=session, submit=submit)
