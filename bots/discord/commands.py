"""What people tell Bob to do on Discord: slash commands, "Ask about this", and the buttons under answers.

Buttons and windows are known by what their ids say, so they work after a restart as well. Discord waits three seconds
for a first answer; where the store takes longer it is asked for more time, and that answer is edited later.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import aiohttp
import discord
from discord import app_commands

from bots.discord.api import NOTHING, edit_answer
from bots.discord.content import content_of
from bots.discord.destination import was_asked_before
from bots.discord.incoming import (
    Heard,
    Speaker,
    command_of,
    destination_of,
    here_of,
    speaker_of,
    surroundings_of,
    title_of_post,
)
from bots.discord.links import message_at
from bots.discord.prepare import DiscordPreparing
from bots.discord.reply import AGAIN, custom_ids_in, turn_of
from bots.discord.words import SURFACE, Here, moment_shown, person_id, readable
from bots.shared.asked_again import NOT_YOURS, AskedAgain
from bots.shared.content import SharedFile
from bots.shared.controls import FORGET_ME, NOT_NOW, UNKNOWN_ANSWER, Controls, Wording
from bots.shared.incoming import Incoming, Origin
from bots.shared.intake import SECONDS_TO_CHECK
from bots.shared.prepare import Remembered
from bots.shared.quotes import LEFT_OUT, Quoted
from bots.shared.responder import Responder
from core import Chat, Json, NotAccepted, PasswordsClosed, Sentence, StoreUnavailable, Turn, WrongPassword, kind_of

logger = logging.getLogger(__name__)

SECONDS_UNTIL_DEFERRED = 1.0  # of what `SECONDS_TO_CHECK` leaves of the three that Discord waits
ATTEMPTS_TO_ANSWER = 3
SECONDS_A_LOCALE_IS_KNOWN = 30 * 86_400.0
LONGEST_PROMPT = 6_000
LONGEST_TYPED = 4_000  # in one field of a window
LONGEST_SHOWN = 3_000  # of a message in a window, with room for the names of what is unread

HELP = Sentence("""\
Mention me in a channel and I answer in a thread; reply to me, write to me directly, or use `/ask`.
`/new` lets this conversation begin anew: I no longer look at what was said before.
`/stop` ends the answer that is being written.
`/assistant` lists who can answer, or chooses one.
`/unlock` asks for a password in a window that nobody else sees; `/lock` takes it back.
`/forget` erases what I keep of this conversation.
With `what`, `/forget` also erases what I keep of you, everywhere.
`/why` tells you alone what became of your last question, or of your message at a link.
“Ask about this” is in the menu of every message, under Apps.""")
WORDING = Wording(
    "Discord", HELP, session=Sentence("this conversation"), to_choose="`/assistant name`", to_lock="`/lock`",
    admins=Sentence("somebody who may manage messages here"), moment=moment_shown,
)  # fmt: skip
NO_LINK = Sentence("That is no link of a message. “Copy Message Link” is in the menu of each.")
WENT_WRONG = Sentence("Sorry, something went wrong on my side. Please try again.")
QUOTE_IT = Sentence("I do not know this answer any more. Reply to it, or quote what you mean.")
NO_WORDS_TO_READ = Sentence("There are no words in this message that I can read.")
OTHERS_CAN_READ_IT = Sentence(" Others can read what is said here.")
ASKING = ("ask", "about", "about-turn", AGAIN)
"""The commands and windows that ask, of which the question tells what became."""
ALL_OF_MINE, FORGET = "mine", "forget"
WHAT_TO_FORGET = [
    app_commands.Choice(name=app_commands.locale_str("This conversation"), value="this"),
    app_commands.Choice(name=app_commands.locale_str("Everything of mine"), value=ALL_OF_MINE),
]
ASK_ABOUT_THIS, UNLOCK = Sentence("Ask about this"), Sentence("Unlock")

Interaction = discord.Interaction[Any]
Do = Callable[["Act"], Awaitable[Sentence]]
ReadAgain = Callable[[Turn, int], Awaitable[Incoming | None]]
T = TypeVar("T")


class DiscordCommands:
    """Carries out what people tell Bob to do on Discord."""

    def __init__(
        self, chat: Chat, preparing: DiscordPreparing, responder: Responder, heard: Heard, read_again: ReadAgain
    ) -> None:
        self._heard = heard
        self._read_again = read_again
        self._asked_again = AskedAgain(chat, SURFACE, responder.accept)
        self._chat = chat
        self._preparing = preparing
        self._responder = responder
        self._controls = Controls(chat, SURFACE, WORDING)
        self._locales = Remembered[int, str]()

    def known_locale_of(self, user: int) -> str:
        """The locale that somebody's last command told; empty where this process heard none."""
        return self._locales.last(user, "")

    def tree_for(self, client: discord.Client) -> app_commands.CommandTree[Any]:
        """The commands, for a client."""
        tree = _Tree(client)
        tree.may_pass = self._may_pass

        def add(name: str, description: str, do: Any) -> None:
            tree.add_command(app_commands.Command(name=name, description=description, callback=do, **EVERYWHERE))

        async def ask(
            interaction: Interaction,
            prompt: app_commands.Range[str, 1, LONGEST_PROMPT],
            file: discord.Attachment | None = None,
        ) -> None:
            await self._ask(interaction, prompt, file=file)

        async def assistant(interaction: Interaction, name: str = "") -> None:
            await self._carry_out(interaction, lambda act: self._choose(act, name))

        async def why(interaction: Interaction, link: str = "") -> None:
            await self._carry_out(interaction, lambda act: self._why(act, link))

        async def forget(interaction: Interaction, what: app_commands.Choice[str] | None = None) -> None:
            if what is not None and what.value == ALL_OF_MINE:
                await self._ask_whether_to_forget(interaction)
            else:
                await self._carry_out(interaction, self._forget)

        def control(do: Do, *, ephemeral: bool = True) -> Any:
            async def callback(interaction: Interaction) -> None:
                await self._carry_out(interaction, do, ephemeral=ephemeral)

            return callback

        to_be_erased = app_commands.describe(what="What is to be erased")
        what_of = app_commands.choices(what=WHAT_TO_FORGET)
        what_is_asked = app_commands.describe(prompt="What you want to know", file="What Bob is to look at")
        add("ask", "Ask Bob something", what_is_asked(ask))
        add("new", "Begin a new conversation here", control(self._controls.reset, ephemeral=False))
        add("stop", "End the answer that is being written here", control(self._stop))
        add("assistant", "See who can answer, or choose one", app_commands.describe(name="Who is to answer")(assistant))
        add("unlock", "Open a private assistant with a password", self._unlock)
        add("lock", "Take back what you unlocked here", control(self._controls.lock))
        add("forget", "Erase what Bob keeps of this conversation", to_be_erased(what_of(forget)))
        what_it_is_about = app_commands.describe(link="The link of a message of yours; without one, your last question")
        add("why", "What became of your question", what_it_is_about(why))
        add("help", "What Bob can do", control(lambda act: self._controls.do("help", act)))

        async def ask_about(interaction: Interaction, message: discord.Message) -> None:
            await self._ask_about(interaction, message)

        tree.add_command(app_commands.ContextMenu(name=str(ASK_ABOUT_THIS), callback=ask_about, **EVERYWHERE))
        tree.error(self._on_error)
        return tree

    async def clicked(self, interaction: Interaction) -> None:
        """Do what a button that was pressed or a window that was sent is for."""
        handle = {
            discord.InteractionType.component: self._pressed,
            discord.InteractionType.modal_submit: self._sent,
        }.get(interaction.type)
        if handle is None or not await self._may_pass(interaction):
            return
        try:
            await handle(interaction, str(_data_of(interaction).get("custom_id") or ""))
        except Exception as failure:
            await self._on_error(interaction, failure)

    async def _may_pass(self, interaction: Interaction) -> bool:
        """Whether this person may do anything here; they are told so if not. Everything they do comes by here."""
        try:
            act = act_of(interaction, self._heard)
            self._locales.remember(interaction.user.id, locale_of(interaction), seconds=SECONDS_A_LOCALE_IS_KNOWN)
            destination = destination_of(act.here, act.speaker, bot=_our_id(interaction))
            refusal = await self._preparing.refusal(destination, SECONDS_TO_CHECK)
            command = _command_in(interaction)
            if refusal is not None or command not in ASKING:
                self._controls.note(act, command, event_id=_event_of(interaction.id), refusal=refusal)
            if refusal is not None:
                await _say(interaction, refusal)
        except Exception as failure:
            await self._on_error(interaction, failure)
            return False
        return refusal is None

    # ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask(
        self, interaction: Interaction, text: str, *, quoted: Quoted | None = None, about: Turn | None = None,
        file: discord.Attachment | None = None,
    ) -> None:  # fmt: skip
        act = act_of(interaction, self._heard)
        here, speaker = act.here, replace(act.speaker, name=self._chat.masked(act.speaker.name))
        acknowledging = asyncio.create_task(_quietly(lambda: interaction.response.defer(thinking=True)))
        text = readable(text, _our_id(interaction), {})
        sentence = None
        try:
            if quoted is not None:
                quoted, _ = await self._preparing.quotes.to_be_kept(quoted, ())
            bot = _our_id(interaction)
            destination = destination_of(
                here, speaker, bot=bot, command=command_of(interaction), quoted=quoted,
                files=self._noted(interaction, file), may_post=_may_post(interaction),
                title=self._chat.masked(title_of_post(interaction.channel)),
                surroundings=surroundings_of(interaction.channel, interaction.guild, bot, self._chat.masked),
            )  # fmt: skip
            destination["locale"] = locale_of(interaction)
            incoming = Incoming(
                key=_event_of(interaction.id), session=about.session if about is not None else act.session,
                place=act.place, channel=str(here.channel), person=act.person, text=text, destination=destination,
                asker="" if here.kind == "dm" else speaker.name,
            )  # fmt: skip
            await self._responder.accept(incoming.question(SURFACE))
        except NotAccepted as refusal:
            sentence = refusal.sentence
        finally:
            await acknowledging
        if sentence is not None:
            await _edit(interaction, sentence)

    def _noted(self, interaction: Interaction, file: discord.Attachment | None) -> Sequence[SharedFile]:
        """What is stored of the file that a command was given; only this process knows for a while where it is."""
        if file is None:
            return ()
        told = _object(_object(_object(_data_of(interaction), "resolved"), "attachments"), str(file.id))
        message = {"attachments": [told]}
        self._preparing.files.note(interaction.id, message)
        return content_of(message, _our_id(interaction), {}, self._chat.masked, takes_files=True).files

    async def _ask_about(self, interaction: Interaction, message: discord.Message) -> None:
        bot = _our_id(interaction)
        if message.author.id == bot:
            try:
                async with asyncio.timeout(SECONDS_UNTIL_DEFERRED):  # a window is the first answer or none
                    turn = await self.turn_shown_by(message)
            except TimeoutError:
                raise StoreUnavailable from None
            if turn is None:
                await _say(interaction, QUOTE_IT)
                return
            await _quietly(
                lambda: interaction.response.send_modal(
                    _window(interaction, ASK_ABOUT_THIS, f"about-turn:{turn.id}", ASK)
                )
            )
            return
        try:
            async with asyncio.timeout(SECONDS_UNTIL_DEFERRED):
                text = await self._said_by(interaction, message)
        except TimeoutError:
            raise StoreUnavailable from None
        if not text:
            await _say(interaction, NO_WORDS_TO_READ)
            return
        read = _field("message", Sentence("The message"), text[:LONGEST_TYPED], long=True)
        about = f"about:{message.id}:{speaker_of(message.author, self._chat.masked).name[:70]}"
        window = _window(interaction, ASK_ABOUT_THIS, about, ASK, read)
        await _quietly(lambda: interaction.response.send_modal(window))

    async def _said_by(self, interaction: Interaction, message: discord.Message) -> str:
        """What a message says, for a window that the person who asks sees; empty where that is nothing."""
        messages = _object(_object(_data_of(interaction), "resolved"), "messages")
        names = {each.id: each.display_name for each in message.mentions}
        content = content_of(_object(messages, str(message.id)), _our_id(interaction), names)
        if not content.says_anything:
            return ""
        quotes, _ = await self._preparing.quotes.all_to_be_kept(content.quotes, str(_our_id(interaction)))
        return content.told(LONGEST_SHOWN, [(quote["name"], quote["text"] or LEFT_OUT) for quote in quotes])

    async def turn_shown_by(self, message: discord.Message) -> Turn | None:
        """The turn whose answer this message of ours shows, as far as the message tells."""
        for custom_id in custom_ids_in(message):
            if turn_id := turn_of(custom_id):
                return await self._chat.turn(turn_id)
        if message.interaction_metadata is not None:
            return await self._chat.turn_of(SURFACE, _event_of(message.interaction_metadata.id))
        if message.reference is not None and message.reference.message_id:
            return await self._chat.turn_of(SURFACE, str(message.reference.message_id))
        return None

    # ── commands ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _carry_out(self, interaction: Interaction, do: Do, *, ephemeral: bool = True) -> None:
        try:
            once = self._controls.once(_event_of(interaction.id), lambda: do(act_of(interaction, self._heard)))
            sentence = await _in_time(interaction, once, ephemeral=ephemeral)
        except StoreUnavailable:
            await _say(interaction, NOT_NOW)
            return
        if sentence is not None:  # else another process of ours does it
            await _say_done(interaction, sentence, ephemeral=ephemeral)

    async def _stop(self, act: Act) -> Sentence:
        turns = list(await self._chat.open_turns_in(act.session))
        for turn in await self._chat.open_turns_asked_by(act.person):  # what was asked here may be answered in a thread
            if (turn.destination or {}).get("channel") == act.here.channel:
                turns.append(turn)
        before = [turn for turn in turns if was_asked_before(act.interaction.id, turn.destination or {})]
        return await self._controls.stop(act, before)

    async def _choose(self, act: Act, name: str) -> Sentence:
        return await self._controls.choose(act, name, in_all_sessions=act.here.kind not in ("dm", "thread"))

    async def _why(self, act: Act, link: str) -> Sentence:
        found = message_at(link) if link.strip() else None
        return NO_LINK if link.strip() and found is None else await self._controls.why(act, found)

    async def _forget(self, act: Act) -> Sentence:
        async def is_admin() -> bool:
            return act.interaction.permissions.manage_messages

        return await self._controls.forget(act, is_admin=is_admin)

    async def _ask_whether_to_forget(self, interaction: Interaction) -> None:
        locale = locale_of(interaction)
        view = discord.ui.View(timeout=None)
        view.add_item(
            discord.ui.Button(
                label=FORGET_ME.in_language(locale), style=discord.ButtonStyle.danger, custom_id=f"{FORGET}:me"
            )
        )
        view.stop()  # it is found by its id
        text = self._controls.what_forgetting_somebody_does().in_language(locale)
        await _quietly(
            lambda: interaction.response.send_message(
                text, ephemeral=True, view=view, suppress_embeds=True, allowed_mentions=NOTHING
            )
        )

    async def _forget_me(self, interaction: Interaction) -> None:
        acknowledging = asyncio.create_task(_quietly(lambda: interaction.response.defer()))
        try:
            sentence = await self._controls.forget_somebody(person_id(interaction.user.id))
        finally:
            await acknowledging
        await _edit(interaction, sentence, view=None)

    async def _unlock(self, interaction: Interaction) -> None:
        window = _window(interaction, UNLOCK, f"unlock:{act_of(interaction, self._heard).place}", PASSWORD)
        await _quietly(lambda: interaction.response.send_modal(window))

    # ── buttons and windows ──────────────────────────────────────────────────────────────────────────────────────────

    async def _pressed(self, interaction: Interaction, custom_id: str) -> None:
        action, _, about = custom_id.partition(":")
        if action == AGAIN and about.isascii() and about.isdecimal():
            await self._ask_again(interaction, int(about))
            return
        if action == FORGET:
            await self._forget_me(interaction)
            return
        turn_id = turn_of(custom_id)
        if turn_id is None:
            return
        if action == "stop":
            acknowledging = asyncio.create_task(_quietly(lambda: interaction.response.defer()))
            try:
                await self._chat.stop(turn_id)
            finally:
                await acknowledging
            return
        rating = self._rate(turn_id, person_id(interaction.user.id), good=action == "good")
        await _say_done(interaction, await _in_time(interaction, rating, ephemeral=True))

    async def _ask_again(self, interaction: Interaction, message: int) -> None:
        acknowledging = asyncio.create_task(_quietly(lambda: interaction.response.defer()))
        try:
            person = person_id(interaction.user.id)
            sentence = await self._asked_again.ask(str(message), person, lambda turn: self._read_again(turn, message))
        finally:
            await acknowledging
        if sentence == NOT_YOURS:
            await _say(interaction, sentence)
        else:
            await _edit(interaction, sentence, view=None)

    async def _rate(self, turn_id: str, person: str, *, good: bool) -> Sentence:
        return await self._controls.rate(await self._chat.turn(turn_id), person, good=good)

    async def _sent(self, interaction: Interaction, custom_id: str) -> None:
        kind, _, about = custom_id.partition(":")
        typed = _typed(interaction)
        if kind == "unlock":
            password = typed.get("password", "")
            await self._carry_out(interaction, lambda act: self._try_password(act, about, password))
        elif kind == "about":
            message, _, name = about.partition(":")
            quoted: Quoted = {
                "id": message,
                "name": self._chat.masked(name),
                "text": self._chat.masked(typed.get("message", "")),
            }
            await self._ask(interaction, typed.get("question", ""), quoted=quoted)
        elif kind == "about-turn":
            turn = await _in_time(interaction, self._chat.turn(about), ephemeral=False)
            if turn is None:
                await _say(interaction, UNKNOWN_ANSWER)
            else:
                await self._ask(interaction, typed.get("question", ""), about=turn)

    async def _try_password(self, act: Act, place: str, typed: str) -> Sentence:
        others = None if act.here.kind == "dm" else OTHERS_CAN_READ_IT
        try:
            return await self._controls.unlock(act.person, place, typed, others=others)
        except (WrongPassword, PasswordsClosed) as refusal:
            return refusal.sentence

    async def _on_error(self, interaction: Interaction, failure: Exception) -> None:
        cause = getattr(failure, "original", failure)
        if isinstance(cause, StoreUnavailable):
            await _say(interaction, NOT_NOW)
            return
        logger.error("a command could not be carried out: %s", kind_of(cause))
        await _say(interaction, WENT_WRONG)


class _Tree(app_commands.CommandTree[Any]):
    """Commands of people who may give them."""

    may_pass: Callable[[Interaction], Awaitable[bool]]

    async def interaction_check(self, interaction: Interaction, /) -> bool:
        return await self.may_pass(interaction)


def _command_in(interaction: Interaction) -> str:
    """The name of a command that is given, in English, or what a button or a window is for."""
    data = _data_of(interaction)
    return str(data.get("name") or "") or str(data.get("custom_id") or "").partition(":")[0]


def _event_of(interaction: int) -> str:
    return f"command:{interaction}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act(Origin):
    """What somebody does by a command, a button or a window."""

    interaction: Interaction
    here: Here
    speaker: Speaker


def act_of(interaction: Interaction, heard: Heard) -> Act:
    """What is done."""
    here = here_of(interaction.channel, interaction.guild)
    if interaction.context.dm_channel:
        here = Here("dm", here.channel, None, None)
    elif here.kind in ("opens", "dm"):  # a command opens no thread, and somebody else's DM is not ours
        here = Here("inline", here.channel, None, here.guild)
    if here.kind != "dm" and here.guild is None:
        here = Here(here.kind, here.channel, here.parent, interaction.guild_id)
    here = heard.here(here)
    return Act(
        session=here.session(message=None, user=interaction.user.id), place=here.place,
        person=person_id(interaction.user.id), interaction=interaction, here=here,
        speaker=speaker_of(interaction.user, str),
    )  # fmt: skip


def locale_of(interaction: Interaction) -> str:
    """The locale of whoever does it."""
    return str(interaction.locale.value)


def _our_id(interaction: Interaction) -> int:
    user = interaction.client.user
    return user.id if user is not None else 0


def _may_post(interaction: Interaction) -> bool:
    """Whether we are in the channel ourselves, and not only on the account of whoever gives the command."""
    if interaction.context.dm_channel:
        return True
    ours = interaction.app_permissions
    is_thread = isinstance(interaction.channel, discord.Thread)
    may_send = ours.send_messages_in_threads if is_thread else ours.send_messages
    return interaction.is_guild_integration() and ours.view_channel and may_send


async def _in_time(interaction: Interaction, work: Coroutine[Any, Any, T], *, ephemeral: bool) -> T:
    """What `work` gives. Where that takes a while, Discord is asked for more time."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({working}, timeout=SECONDS_UNTIL_DEFERRED)
        if not working.done():
            await _quietly(lambda: interaction.response.defer(ephemeral=ephemeral, thinking=True))
        return await working
    finally:
        working.cancel()


async def _say(interaction: Interaction, sentence: Sentence, *, ephemeral: bool = True) -> bool:
    """Answer with a sentence. False where Discord does not take it."""
    text = sentence.in_language(locale_of(interaction))
    first = interaction.response
    if first.type is discord.InteractionResponseType.deferred_message_update:  # what could be edited is the answer
        send: Callable[..., Awaitable[object]] = interaction.followup.send
    elif first.is_done():
        return await _edit(interaction, sentence)
    else:
        send = first.send_message
    return await _quietly(lambda: send(text, ephemeral=ephemeral, suppress_embeds=True, allowed_mentions=NOTHING))


async def _say_done(interaction: Interaction, sentence: Sentence, *, ephemeral: bool = True) -> None:
    """Say what was done, also where another process of ours asked for more time to do it."""
    if not await _say(interaction, sentence, ephemeral=ephemeral):
        await _edit(interaction, sentence)


async def _edit(interaction: Interaction, sentence: Sentence, **more: Any) -> bool:
    application, token = interaction.application_id, interaction.token
    text = sentence.in_language(locale_of(interaction))
    return await _quietly(lambda: edit_answer(interaction.client, application, token, content=text, **more))


async def _quietly(answer: Callable[[], Awaitable[object]]) -> bool:
    """Answer an interaction, unless it is too late or another process of ours did. Discord takes one first answer.

    Gives whether Discord took this one.
    """
    for _ in range(ATTEMPTS_TO_ANSWER):
        try:
            await answer()
        except (OSError, TimeoutError, aiohttp.ClientError, RuntimeError) as failure:  # a closed client: RuntimeError
            logger.info("an interaction is answered again: %s", kind_of(failure))
            continue
        except (discord.HTTPException, discord.InteractionResponded) as refusal:
            logger.info("an interaction was not answered: %s", getattr(refusal, "code", kind_of(refusal)))
            return False
        return True
    return False


def _object(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _data_of(interaction: Interaction) -> Json:
    return {**interaction.data} if interaction.data else {}


def _typed(interaction: Interaction) -> dict[str, str]:
    """What was typed into the fields of a window."""
    found: dict[str, str] = {}

    def look(components: Any) -> None:
        for component in components or ():
            if component.get("custom_id") and "value" in component:
                found[component["custom_id"]] = str(component["value"] or "")
            look(component.get("components"))
            look([component["component"]] if component.get("component") else None)

    look(_data_of(interaction).get("components"))
    return found


def _window(
    interaction: Interaction, title: Sentence, custom_id: str, *fields: Callable[[str], Any]
) -> discord.ui.Modal:
    locale = locale_of(interaction)
    window = discord.ui.Modal(title=title.in_language(locale), custom_id=custom_id, timeout=None)
    for field in fields:
        window.add_item(field(locale))
    window.stop()  # it is found by its id, so discord.py need not remember it
    return window


def _field(name: str, label: Sentence, default: str = "", *, long: bool = False) -> Callable[[str], Any]:
    style = discord.TextStyle.paragraph if long else discord.TextStyle.short
    most = LONGEST_TYPED if long else 200
    return lambda locale: discord.ui.TextInput[Any](
        label=label.in_language(locale), custom_id=name, style=style, default=default or None, max_length=most
    )


ASK = _field("question", Sentence("What do you want to know?"), long=True)
PASSWORD = _field("password", Sentence("Password"))
EVERYWHERE: dict[str, Any] = {
    "allowed_installs": app_commands.AppInstallationType(guild=True, user=True),
    "allowed_contexts": app_commands.AppCommandContext(guild=True, dm_channel=True, private_channel=True),
}
