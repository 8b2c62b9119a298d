"""What people tell Bob to do instead of asking, in words that no platform has to itself. It all acts at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bots.shared.incoming import Incoming, Origin
from bots.shared.prepare import setting_of
from bots.shared.surface import Link
from bots.shared.why import Why
from core import Chat, Event, Fate, Sentence, StoreUnavailable, Turn, as_moment

WAS_RESET = Sentence("A new conversation begins here: I no longer look at what was said above.")
NOTHING_TO_RESET = Sentence("There is no conversation here yet.")
STOPPED = Sentence("Stopped.")
NOTHING_TO_STOP = Sentence("There is no answer being written here.")
NOTHING_KEPT = Sentence("I keep nothing of this conversation.")
NOT_NOW = Sentence("Sorry, I cannot store anything right now. Please try again shortly.")
IS_LOCKED = Sentence("It is locked again here.")
NOTHING_TO_LOCK = Sentence("There is nothing unlocked here.")
UNKNOWN_ANSWER = Sentence("I do not know this answer any more.")
THANKS = Sentence("Thank you for telling me.")
THIS_CHANNEL = Sentence("this channel")
CAN_ANSWER = "These can answer: {names}. {command} chooses one for {where}."
NO_SUCH_NAME = "There is no assistant of that name to choose. These can answer: {names}."
UNLOCKED = "{name} answers you here for the next 15 minutes.{others} {command} ends it."
FORGET_ME = Sentence("Forget me")
WHAT_FORGETTING_SOMEBODY_DOES = (
    "This erases what I keep of you, wherever you asked me: your questions with my answers, your files, what you "
    "thought of answers, and what you unlocked; here and at the language model's provider. What others asked stays, "
    "and so do messages in {platform}. It cannot be undone."
)
FORGETTING_SOMEBODY = (
    "I am forgetting you: what I keep of you, and what the language model's provider keeps, is being erased. Messages "
    "in {platform} stay."
)
MAY_NOT_FORGET = "Only whoever began this conversation with me, or {admins}, can let me forget it."

COMMANDS = {"reset": 1, "stop": 1, "help": 1, "assistant": 2}  # and of how many words they are at most


@dataclass(frozen=True, slots=True)
class Wording:
    """What a surface's own sentences say: how things are called there, and how to do them."""

    platform: str
    help: Sentence
    session: Sentence
    to_choose: str
    to_lock: str
    admins: Sentence
    moment: Callable[[float], str] = as_moment
    """A time, in seconds since 1970, as each reader is shown it."""


def command_in(text: str) -> tuple[str, str] | None:
    """The command that a whole message is, and what it is about; None if it is none."""
    words = text.strip().lstrip("!/").rstrip(".!").split()
    if not words or len(words) > COMMANDS.get(words[0].casefold(), 0):
        return None
    return words[0].casefold(), words[1] if len(words) == 2 else ""


class Controls:
    """Carries out what people tell Bob to do. Methods give what to say to that."""

    def __init__(self, chat: Chat, surface: str, wording: Wording) -> None:
        self._chat = chat
        self._surface = surface
        self._wording = wording
        self._why = Why(chat, surface, wording.moment)

    def note(
        self, origin: Origin, command: str, *, event_id: str | None = None, refusal: Sentence | None = None
    ) -> None:
        """Keep that somebody gave a command, or may not give any."""
        fate, why = (Fate.COMMAND, command) if refusal is None else (Fate.NOT_ALLOWED, setting_of(refusal))
        self._chat.stories.note(
            Event(
                surface=self._surface, event_id=event_id, fate=fate, why=why, session=origin.session,
                person=origin.person,
            )
        )  # fmt: skip

    async def in_words(self, incoming: Incoming, command: str, about: str) -> Sentence | None:
        """Do what a message says; None where the answer that ends says enough."""
        if command == "stop":
            turns = await self._chat.open_turns_in(incoming.session)
            before = [turn for turn in turns if incoming.is_after(turn.destination or {})]
            return None if await self.stop(incoming, before) == STOPPED else NOTHING_TO_STOP
        return await self.do(command, incoming, about)

    async def do(self, command: str, origin: Origin, about: str = "", *, in_all_sessions: bool = False) -> Sentence:
        """Carry out a command that says all it takes; one that there is not asks for help."""
        if command == "reset":
            return await self.reset(origin)
        if command == "lock":
            return await self.lock(origin)
        if command == "assistant":
            return await self.choose(origin, about, in_all_sessions=in_all_sessions)
        return self._wording.help

    async def once(self, event_id: str, do: Callable[[], Awaitable[Sentence]]) -> Sentence | None:
        """What to say to something that may be delivered more than once; None where it is done already."""
        sentence = None
        try:
            async with self._chat.control(self._surface, event_id) as fresh:
                if fresh:
                    sentence = await do()
        except StoreUnavailable:
            if sentence is None:  # else it was carried out, and only that is not noted
                raise
        return sentence

    async def reset(self, origin: Origin) -> Sentence:
        """Let a session begin anew."""
        return WAS_RESET if await self._chat.reset(origin.session) else NOTHING_TO_RESET

    async def stop(self, origin: Origin, turns: Sequence[Turn]) -> Sentence:
        """End the first of these, which is being answered, and whatever else in them this person waits for."""
        for turn in turns:
            if turn is turns[0] or turn.person == origin.person:
                await self._chat.stop(turn.id)
        return STOPPED if turns else NOTHING_TO_STOP

    async def choose(self, origin: Origin, name: str, *, in_all_sessions: bool = False) -> Sentence:
        """Let an assistant answer in a session, or in all of a place; without a name, tell which there are."""
        where = THIS_CHANNEL if in_all_sessions else self._wording.session
        public = [assistant.name for assistant in self._chat.assistants if not assistant.private]
        names = ", ".join(public)
        if not name.strip():
            return Sentence(CAN_ANSWER, names=names, command=self._wording.to_choose, where=where)
        found = next((each for each in public if each.casefold() == name.strip().casefold()), None)
        if found is None:
            return Sentence(NO_SUCH_NAME, names=names)
        if in_all_sessions:
            await self._chat.choose_in(origin.place, found)
        else:
            await self._chat.choose(origin.session, self._surface, found)
        return Sentence("{name} answers in {where} from now on.", name=found, where=where)

    async def unlock(self, person: str, place: str, typed: str, *, others: Sentence | None = None) -> Sentence:
        """Try a password; `others` tells who else reads the answers. Raises WrongPassword and PasswordsClosed."""
        opened = await self._chat.unlock(person, place, self._surface, typed)
        return Sentence(UNLOCKED, name=opened.name, others=others or "", command=self._wording.to_lock)

    async def lock(self, origin: Origin) -> Sentence:
        """Take back what this person unlocked in a place."""
        return IS_LOCKED if await self._chat.lock(origin.person, origin.place) else NOTHING_TO_LOCK

    async def forget(self, origin: Origin, *, is_admin: Callable[[], Awaitable[bool]]) -> Sentence:
        """Erase a session, for whoever began it and for admins."""
        starter = await self._chat.starter(origin.session)
        if starter is None:
            return NOTHING_KEPT
        if origin.person != starter and not await is_admin():
            return Sentence(MAY_NOT_FORGET, admins=self._wording.admins)
        await self._chat.forget(origin.session)
        return forgotten(self._wording.platform)

    async def why(self, origin: Origin, link: Link | None = None) -> Sentence:
        """Tell this person what became of their last question, or of their message at a link."""
        return await self._why.told(origin, link)

    def what_forgetting_somebody_does(self) -> Sentence:
        """What to say before somebody is forgotten."""
        return Sentence(WHAT_FORGETTING_SOMEBODY_DOES, platform=self._wording.platform)

    async def forget_somebody(self, person: str) -> Sentence:
        """Forget whoever wants that of themselves."""
        await self._chat.begin_to_forget(person)
        return Sentence(FORGETTING_SOMEBODY, platform=self._wording.platform)

    async def rate(self, turn: Turn | None, person: str, *, good: bool) -> Sentence:
        """Record what somebody thinks of an answer."""
        if turn is None or not await self._chat.rate(turn, person, good=good):
            return UNKNOWN_ANSWER
        return THANKS


def forgotten(platform: str) -> Sentence:
    """What to say once a session is erased."""
    return Sentence(
        "Forgotten: I keep nothing of it any more, and what the language model's provider keeps is being erased. "
        "Messages in {platform} stay.",
        platform=platform,
    )
