"""What people tell Bob to do, instead of asking: words in a thread, `/bob`, a shortcut, and the buttons under answers.

All of it acts at once, whatever is being answered.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from slack_bolt import BoltResponse
from slack_bolt.async_app import AsyncAck, AsyncApp, AsyncBoltContext

from bots.shared.controls import FORGET_ME, NOT_NOW, Controls, Wording
from bots.shared.incoming import Incoming, Origin
from bots.shared.intake import SECONDS_TO_CHECK
from bots.shared.prepare import NOT_SURE
from bots.slack.api import SlackApi
from bots.slack.asked_again import ACTION as ASK_AGAIN_ACTION
from bots.slack.asked_again import Complete, SlackAskedAgain
from bots.slack.destination import Destination
from bots.slack.links import message_at
from bots.slack.question_command import Accept, QuestionCommand
from bots.slack.reply import NOTICE
from bots.slack.words import SURFACE, install_of, message_id, moment_shown, person_id, place_id, session_id
from bots.slack.words import Incoming as SlackIncoming
from core import Chat, Json, PasswordsClosed, Sentence, StoreUnavailable, Turn, WrongPassword

logger = logging.getLogger(__name__)

Refusal = Callable[[Destination, float], Awaitable[Sentence | None]]
LocaleOf = Callable[[str, float], Awaitable[str]]

FORGET, UNLOCK, UNLOCKED = Sentence("Forget this thread"), Sentence("Unlock"), Sentence("Unlocked")
CLOSE, PASSWORD, FORGET_IT, BOB = Sentence("Close"), Sentence("Password"), Sentence("Forget"), Sentence("Bob")
OTHERS_CAN_READ_IT = Sentence(" In a channel, others can read what is said.")
WHAT_UNLOCKING_DOES = Sentence("The assistant that it opens answers you here, and only you, for the next 15 minutes.")
WHAT_FORGETTING_DOES = Sentence(
    "This erases what I keep of this thread, here and at the language model's provider. It cannot be undone."
)
SECONDS_TO_LEARN_A_LOCALE = 0.3  # of what is left of the three that Slack waits
SECONDS_TO_LEARN_A_LOCALE_AT_LEISURE = 3.0
SECONDS_TO_FIND_ADMINS = 1.0  # of what `SECONDS_TO_CHECK` leaves of the three that Slack waits

MOST_WORDS = {"help": 1, "lock": 1, "unlock": 2, "assistant": 2, "why": 2, "forget": 2, "reset": 1, "stop": 1}
"""Of `/bob` and a first word that is no question, how many words there are at most; the last two are for threads."""

CLICKS = ("unlock", "forget_thread", "feedback")

HELP = Sentence("""\
Mention me in a channel, or write to me in a direct message, and I answer in the thread. \
In a thread where I take part I answer without a mention, unless your message opens with somebody else's.
• `stop` ends the answer that is being written.
• `reset` lets a thread begin anew: I no longer look at what was said before.
• `assistant` lists who can answer; `assistant NAME` chooses one for this thread.
`/bob QUESTION` asks where you type it: everybody there reads the question, and the answer in its thread.
In any channel or direct message, for all its threads:
• `/bob assistant NAME` chooses who answers.
• `/bob unlock` asks for a password, in a window that nobody else sees; `/bob lock` takes it back.
`/bob why` tells you alone what became of your last question, `/bob why LINK` of your message at that link.
The shortcut “Forget this thread” in a message's menu erases what I keep of it.
`/bob forget me` erases what I keep of you, everywhere.""")
WORDING = Wording(
    "Slack", HELP, session=Sentence("this thread"), to_choose="`assistant NAME`", to_lock="`/bob lock`",
    admins=Sentence("an admin of this workspace"), moment=moment_shown,
)  # fmt: skip
SUGGESTED_PROMPTS = [
    (Sentence("What can you do?"), Sentence("What can you help me with, and what can you not do?")),
    (Sentence("Explain something"), Sentence("Explain to me, as to a new colleague: ")),
    (Sentence("Write a first draft"), Sentence("Write a first draft of a short message that says: ")),
    (Sentence("Find the catch"), Sentence("What could go wrong with this plan? ")),
]


class SlackCommands:
    """Carries out what people tell Bob to do in Slack."""

    def __init__(
        self, api: SlackApi, chat: Chat, refusal: Refusal, locale_of: LocaleOf, accept: Accept, complete: Complete,
        tasks: asyncio.TaskGroup,
    ) -> None:  # fmt: skip
        self._api = api
        self._chat = chat
        self._refusal = refusal
        self._locale_of = locale_of
        self._tasks = tasks
        self._asked_again = SlackAskedAgain(api, chat, locale_of, accept, complete)
        self._question = QuestionCommand(api, chat, accept, tasks)
        self.controls = Controls(chat, SURFACE, WORDING)

    def register(self, app: AsyncApp) -> None:
        """Listen to what Bolt hands on."""
        app.middleware(self._let_pass)  # in front of everything below
        app.command(re.compile(r"^/"))(self._on_slash_command)
        app.view("unlock")(self._on_unlock)
        app.shortcut("forget_thread")(self._on_forget)
        app.view("forget_thread")(self._on_forget_confirmed)
        app.view("forget_me")(self._on_forget_me_confirmed)
        app.action("feedback")(self._on_feedback)
        app.action(ASK_AGAIN_ACTION)(self._on_ask_again)
        app.action(re.compile(""))(_acknowledge)  # links count as buttons too
        app.event("app_home_opened")(self._on_home_opened)

    # ── in a thread ──────────────────────────────────────────────────────────────────────────────────────────────────

    def say(self, incoming: Incoming, sentence: Sentence) -> None:
        """Post a sentence in the thread, in the background."""
        self._tasks.create_task(self._say(incoming, sentence))

    async def _say(self, incoming: Incoming, sentence: Sentence) -> None:
        locale = await self._locale_of(incoming.destination["user"], SECONDS_TO_LEARN_A_LOCALE_AT_LEISURE)
        await self._api.attempt(
            "chat.postMessage", channel=incoming.channel, thread_ts=incoming.destination["thread"],
            text=sentence.in_language(locale), unfurl_links=False, unfurl_media=False,
            metadata={"event_type": NOTICE, "event_payload": {}},
        )  # fmt: skip

    def offer_to_ask_again(self, turn: Turn, incoming: Incoming) -> None:
        """Show somebody who changed an answered question how to ask it again, in the background."""
        assert isinstance(incoming, SlackIncoming)
        self._tasks.create_task(self._asked_again.offer(turn, incoming))

    async def stop_pressed(self, body: Json, event: Json) -> None:
        """Stop what Slack's own button was pressed on."""
        whose = (body.get("authorizations") or [{}])[0]
        team = whose.get("team_id") or body.get("team_id")
        organisation = whose.get("enterprise_id") if whose.get("is_enterprise_install") else None
        act = act_of(
            install_of(body),
            user=event.get("user") or "",
            user_team="" if body.get("is_ext_shared_channel") else team or organisation or "",  # it is not told
            channel=event.get("channel") or event.get("channel_id") or "",
            thread=event.get("thread_ts") or "",
        )
        refusal = await self._refusal_of(act, team, organisation)
        self.controls.note(act, "stop", event_id=f"stop:{body.get('event_id')}", refusal=refusal)
        if refusal is not None:
            return
        async with self._chat.control(SURFACE, f"stop:{body.get('event_id')}") as fresh:
            if not fresh:
                return
            streams = [message_id(act.channel, ts) for ts in event.get("streaming_message_ts") or ()]
            shown_by = [await self._chat.showing(SURFACE, message) for message in streams]
            turns = [turn for turn in shown_by if turn is not None]
            for turn in turns or (await self._chat.open_turns_in(act.session))[:1]:
                await self._chat.stop(turn.id)

    # ── /bob ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_slash_command(self, ack: AsyncAck, body: Json, context: AsyncBoltContext) -> None:
        act = act_in(body)
        command, about = typed_in(body)
        if command is None:
            locale = await self._locale_in_time(act)
            why_not = await self._question.ask(body, act, install_of(body), context.bot_user_id or "", locale)
            await (ack() if why_not is None else _answer(ack, why_not.in_language(locale)))
            return
        if command == "forget" and about.casefold() == "me":
            await ack()
            await self._show(body, self._forget_me_window(act.place, await self._locale_in_time(act)))
            return
        if command == "unlock":
            await ack()
            await self._show(body, _unlock_window(act.place, await self._locale_in_time(act)))
            return
        if command not in ("lock", "assistant", "why"):
            command = "help"
        try:
            if command == "why":
                sentence = await self.controls.why(act, message_at(about) if about else None)
            else:
                sentence = await self.controls.do(command, act, about, in_all_sessions=True)
        except StoreUnavailable:
            sentence = NOT_NOW
        await _answer(ack, sentence.in_language(await self._locale_in_time(act)))

    async def _on_unlock(self, ack: AsyncAck, body: Json, view: Json) -> None:
        act = act_in(body)
        typed, others = _typed_password(view), OTHERS_CAN_READ_IT
        try:
            sentence = await self.controls.unlock(act.person, act.place, typed, others=others)
        except (WrongPassword, PasswordsClosed, StoreUnavailable) as refusal:
            why_not = refusal.sentence.in_language(await self._locale_in_time(act))
            await ack(response_action="errors", errors={"password": why_not})
        else:
            window = _window(UNLOCKED, sentence, await self._locale_in_time(act))
            await ack(response_action="update", view=window)

    # ── the shortcut ─────────────────────────────────────────────────────────────────────────────────────────────────

    async def _on_forget(self, ack: AsyncAck, body: Json) -> None:
        await ack()
        act = act_in(body)
        await self._show(body, _forget_window(act.session, await self._locale_in_time(act)))

    async def _on_forget_confirmed(self, ack: AsyncAck, body: Json) -> None:
        act = act_in(body)
        try:
            sentence = await self.controls.forget(act, is_admin=lambda: self._is_admin(act.user))
        except StoreUnavailable:
            sentence = NOT_NOW
        await ack(response_action="update", view=_window(FORGET, sentence, await self._locale_in_time(act)))

    def _forget_me_window(self, place: str, locale: str) -> Json:
        submit, what = _plain(FORGET_IT, locale), self.controls.what_forgetting_somebody_does()
        return _window(FORGET_ME, what, locale, callback_id="forget_me", private_metadata=place, submit=submit)

    async def _on_forget_me_confirmed(self, ack: AsyncAck, body: Json) -> None:
        act = act_in(body)
        try:
            sentence = await self.controls.forget_somebody(act.person)
        except StoreUnavailable:
            sentence = NOT_NOW
        await ack(response_action="update", view=_window(FORGET_ME, sentence, await self._locale_in_time(act)))

    async def _is_admin(self, user: str) -> bool:
        try:
            async with asyncio.timeout(SECONDS_TO_FIND_ADMINS):
                found = (await self._api.attempt("users.info", user=user)).get("user") or {}
        except TimeoutError:
            return False
        return any(found.get(role) for role in ("is_admin", "is_owner", "is_primary_owner"))

    # ── buttons, and the direct message's first sight ────────────────────────────────────────────────────────────────

    async def _on_feedback(self, ack: AsyncAck, body: Json, action: Json) -> None:
        await ack()
        act = act_in(body)
        turn = await self._chat.showing(SURFACE, message_id(act.channel, act.message))
        if turn is None:
            return
        thanks = await self.controls.rate(turn, act.person, good=action.get("value") == "good")
        logger.info("turn %s was rated", turn.reference)
        await self._whisper(act, thanks)

    async def _on_ask_again(self, ack: AsyncAck, body: Json, action: Json) -> None:
        await ack()
        act, pressed = act_in(body), str(action.get("action_ts") or "")
        try:
            sentence = await self._asked_again.ask(
                install_of(body), act.channel, act.person, str(action.get("value") or ""), pressed
            )
        except StoreUnavailable:
            sentence = NOT_NOW
        await self._whisper(act, sentence)

    async def _on_home_opened(self, event: Json) -> None:
        if event.get("tab") == "messages" and event.get("channel"):
            locale = await self._locale_of(str(event.get("user") or ""), SECONDS_TO_LEARN_A_LOCALE_AT_LEISURE)
            prompts = [
                {"title": title.in_language(locale), "message": message.in_language(locale)}
                for title, message in SUGGESTED_PROMPTS
            ]
            await self._api.attempt(
                "assistant.threads.setSuggestedPrompts", channel_id=event["channel"], prompts=prompts
            )

    async def _locale_in_time(self, act: Act) -> str:
        return await self._locale_of(act.user, SECONDS_TO_LEARN_A_LOCALE)

    async def _show(self, body: Json, window: Json) -> None:
        """Open a window, for as long as what was done allows that."""
        if trigger := body.get("trigger_id"):
            await self._api.attempt("views.open", trigger_id=trigger, view=window)

    async def _whisper(self, act: Act, sentence: Sentence) -> None:
        text = sentence.in_language(await self._locale_of(act.user, SECONDS_TO_LEARN_A_LOCALE_AT_LEISURE))
        await self._api.attempt(
            "chat.postEphemeral", channel=act.channel, user=act.user, text=text, thread_ts=act.thread or None
        )

    # ── who may do anything ──────────────────────────────────────────────────────────────────────────────────────────

    async def _let_pass(
        self, ack: AsyncAck, body: Json, context: AsyncBoltContext, next_: Callable[[], Awaitable[None]]
    ) -> BoltResponse | None:
        """Keep whoever may not ask here from doing anything else, and tell them so."""
        act = act_in(body)
        if body.get("event") is None:
            team = organisation = None
            if whose := context.authorize_result:  # what is told of the team need not be ours in a shared channel
                team, organisation = whose.team_id, whose.enterprise_id
            refusal = await self._refusal_of(act, team, organisation)
            if refusal is not None:
                self.controls.note(act, "", refusal=refusal)
                return await self._refuse(ack, body, act, refusal)
            if (command := _command_in(body)) is not None:
                self.controls.note(act, command)
        await next_()
        return None

    async def _refusal_of(self, act: Act, team: str | None, organisation: str | None) -> Sentence | None:
        """Why somebody may not do anything here, found out in time.

        `team` is the workspace that we are installed in, or one of the `organisation` that it is part of.
        """
        kind = "im" if act.channel.startswith("D") else "channel"
        try:
            async with asyncio.timeout(SECONDS_TO_CHECK):
                # Slash commands do not reach an app from other companies' workspaces.
                foreign = None if act.is_command else await self._foreign_team_of(act, team, organisation)
                where_and_who = {
                    "channel": act.channel, "kind": kind, "user": act.user, "user_team": foreign or team,
                    "stranger": foreign is not None,
                }  # fmt: skip
                # Nothing else of a destination decides whether somebody may ask.
                return await self._refusal(cast(Destination, where_and_who), SECONDS_TO_CHECK)
        except TimeoutError:
            return NOT_SURE

    async def _foreign_team_of(self, act: Act, team: str | None, organisation: str | None) -> str | None:
        """The workspace of somebody of another company, as far as it is known; None where they belong to ours.

        Slack is asked where it has not told what settles that.
        """
        if act.user_team and (organisation is None or act.user_team in (team, organisation)):
            return None if act.user_team in (team, organisation) else act.user_team
        found = (await self._api.attempt("users.info", user=act.user)).get("user") or {}
        theirs = {found.get("team_id"), (found.get("enterprise_user") or {}).get("enterprise_id")}
        is_ours = not theirs.isdisjoint({team, organisation} - {None})
        return None if is_ours else act.user_team or str(found.get("team_id") or "")

    async def _refuse(self, ack: AsyncAck, body: Json, act: Act, refusal: Sentence) -> BoltResponse:
        locale = await self._locale_in_time(act)
        if act.is_command:
            return await _answer(ack, refusal.in_language(locale))
        if body.get("type") == "view_submission":
            return await ack(response_action="update", view=_window(BOB, refusal, locale))
        if body.get("type") == "message_action":
            self._tasks.create_task(self._show(body, _window(BOB, refusal, locale)))
        elif act.channel:
            self._tasks.create_task(self._whisper(act, refusal))
        return await ack()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act(Origin):
    """What somebody did with what we show or offer, as far as Slack tells; empty is what it does not."""

    user: str
    user_team: str
    channel: str
    message: str = ""
    thread: str = ""
    is_command: bool = False


def act_of(install: str, *, user: str, channel: str, message: str = "", thread: str = "", **more: Any) -> Act:
    """What was done to a message, in its thread."""
    return Act(
        session=session_id(install, channel, thread or message), place=place_id(install, channel),
        person=person_id(install, user), user=user, channel=channel, message=message, thread=thread, **more,
    )  # fmt: skip


def typed_in(body: Json) -> tuple[str | None, str]:
    """The command that is typed after `/bob`, and what it is about; None where that is a question."""
    words = str(body.get("text") or "").split()
    command = words[0].casefold() if words else "help"
    about = words[1] if len(words) > 1 else ""
    if len(words) > MOST_WORDS.get(command, 0) or (command == "why" and about and message_at(about) is None):
        return None, ""
    return command, about


def _command_in(body: Json) -> str | None:
    """The command that somebody gives, by typing or clicking; None where that asks, or is none of ours."""
    if "command" in body:
        return typed_in(body)[0]
    action = (body.get("actions") or [{}])[0].get("action_id")
    name = action or body.get("callback_id") or (body.get("view") or {}).get("callback_id")
    return name if name in CLICKS else None


def act_in(body: Json) -> Act:
    """What was done, by a command, a shortcut, a button or a window."""
    user = body.get("user") or {}
    room, view, message, container = (body.get(name) or {} for name in ("channel", "view", "message", "container"))
    # A window says what it is about: the place or the session. In a channel that is shared with another company its
    # `team` need not be the one that we are installed in.
    about = str(view.get("private_metadata") or "").split(":")
    install, channel, thread = (*about[1:], "", "")[:3] if len(about) > 2 else (install_of(body), "", "")
    return act_of(
        install,
        user=body.get("user_id") or user.get("id") or "",
        user_team=user.get("team_id") or "",
        channel=body.get("channel_id") or room.get("id") or container.get("channel_id") or channel,
        message=message.get("ts") or body.get("message_ts") or container.get("message_ts") or "",
        thread=message.get("thread_ts") or container.get("thread_ts") or thread,
        is_command="command" in body,
    )  # fmt: skip


async def _answer(ack: AsyncAck, sentence: str) -> BoltResponse:
    return await ack(sentence, unfurl_links=False, unfurl_media=False)


async def _acknowledge(ack: AsyncAck) -> None:
    await ack()


def _typed_password(view: Json) -> str:
    fields = (view.get("state") or {}).get("values") or {}
    return str(((fields.get("password") or {}).get("typed") or {}).get("value") or "")


def _plain(sentence: Sentence, locale: str) -> Json:
    return {"type": "plain_text", "text": sentence.in_language(locale)}


def _window(title: Sentence, sentence: Sentence, locale: str, *more: Json, **view: Any) -> Json:
    text = {"type": "mrkdwn", "text": sentence.in_language(locale)}
    blocks: Sequence[Json] = [{"type": "section", "text": text}, *more]
    return {
        "type": "modal", "title": _plain(title, locale), "close": _plain(CLOSE, locale), "blocks": blocks, **view,
    }  # fmt: skip


def _unlock_window(place: str, locale: str) -> Json:
    typed = {
        "type": "input",
        "block_id": "password",
        "label": _plain(PASSWORD, locale),
        "element": {"type": "plain_text_input", "action_id": "typed", "max_length": 200},
    }
    submit = _plain(UNLOCK, locale)
    return _window(
        UNLOCK, WHAT_UNLOCKING_DOES, locale, typed, callback_id="unlock", private_metadata=place, submit=submit
    )


def _forget_window(session: str, locale: str) -> Json:
    submit = _plain(FORGET_IT, locale)
    return _window(
        FORGET, WHAT_FORGETTING_DOES, locale, callback_id="forget_thread", private_metadata=session, submit=submit
    )
