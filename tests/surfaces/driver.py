"""What a rule for all surfaces needs of one: people who talk to Bob there, what they read, and what goes wrong."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import SecretStr

from bots.shared.surface import LoadedSurface
from core import Settings
from tests.bots.conftest import SECONDS, comes_true, heard_again, turns
from tests.bots.conftest import Start as StartSlack
from tests.bots.discord.conftest import Start as StartDiscord
from tests.bots.discord.conftest import buttons
from tests.bots.running import RunningBob
from tests.conftest import make_settings
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.discord_api import Message as DiscordMessage
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack
from tests.surfaces.board import BOT, LIMIT, Board, Connection, Limited, Message, Operation, Unreachable
from tests.surfaces.toy import TOY, ToySettings

SECONDS_LIMITED = 0.3

Place = Literal["room", "hall"]
Call = Literal["post", "edit"]
Fault = Literal["down", "lost", "limited"]
"""Not carried out; carried out, and the answer is lost; refused for `SECONDS_LIMITED`."""


@dataclass(frozen=True)
class Said:
    """A message of somebody's to Bob. `root` is the one that its conversation began with."""

    id: Any
    person: str
    place: Place
    root: Any


class Driver(ABC):
    """A surface, with its platform. People are ada, grace, and otherbot, who is a bot."""

    limit: ClassVar[int]
    """How many characters a message takes at most."""
    mention: ClassVar[str]
    """How people address Bob."""
    takes_files: ClassVar[bool] = True
    """Whether an answer can be shown with files."""

    def __init__(self, database_url: str) -> None:
        self.database_url = database_url

    # ── Bob's life ───────────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def starts(self, **settings: Any) -> AbstractAsyncContextManager[RunningBob]:
        """A process of Bob's for as long as the block lasts, or until it `ends` or `dies`."""

    # ── what people do ───────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def says(self, text: str, person: str = "ada", *, place: Place = "room", after: Said | None = None) -> Said:
        """Somebody asks Bob: in a conversation of its own, or in one where Bob has said something."""

    @abstractmethod
    async def delivers_again(self, said: Said) -> None:
        """The platform tells once more of a message. Come back once Bob has heard it."""

    @abstractmethod
    def edits(self, said: Said, text: str) -> None:
        """Whoever said something changes it; it addresses Bob as before."""

    @abstractmethod
    def deletes(self, said: Said) -> None:
        """Whoever said something takes it away."""

    @abstractmethod
    def deletes_an_answer_to(self, said: Said) -> None:
        """Somebody who may takes away the first message of Bob's in a conversation."""

    @abstractmethod
    def stops(self, said: Said) -> None:
        """Whoever asked uses what the surface has to stop the answer that is being written."""

    @abstractmethod
    async def rates(self, said: Said, *, good: bool) -> None:
        """Whoever asked says what they think of the answer."""

    # ── what people read ─────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def answers(self, said: Said) -> list[str]:
        """The messages of Bob's in the conversation of a message, as they read now."""

    @abstractmethod
    def files(self, said: Said) -> list[tuple[str, bytes]]:
        """The files of Bob's in the conversation of a message: their names, and what is in them."""

    async def reads(self, said: Said, text: str) -> None:
        """Come back once this can be read among Bob's words in a conversation."""
        await self.until(lambda: any(text in each for each in self.answers(said)))

    async def answered(self, said: Said) -> list[str]:
        """What Bob wrote in a conversation, once the turn of this message is closed."""
        await comes_true(lambda: any(each["closed_at"] for each in self.turns_of(said)))
        return self.answers(said)

    def turns_of(self, said: Said) -> Sequence[dict[str, Any]]:
        """What a message became."""
        return [each for each in turns(self.database_url) if str(each["event_id"]).endswith(str(said.id))]

    @abstractmethod
    def place_of(self, said: Said) -> str:
        """The `Question.place` of a message."""

    @abstractmethod
    async def until(self, check: Callable[[], object]) -> None:
        """Come back once something is true of the platform."""

    # ── what goes wrong ──────────────────────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def fails_next(self, call: Call, fault: Fault, *, times: int = 1) -> None:
        """Let the next calls go wrong that post a message, or that change one."""

    @abstractmethod
    def refuses(self, said: Said) -> None:
        """The place of a conversation takes nothing from now on, for good."""

    @abstractmethod
    def goes_away(self) -> None:
        """The platform cannot be reached, until it `comes_back`."""

    @abstractmethod
    def comes_back(self) -> None: ...

    @property
    @abstractmethod
    def writes(self) -> int:
        """How many requests so far would post, change or delete a message."""

    @property
    @abstractmethod
    def limited(self) -> int:
        """How many requests so far were told to wait."""

    @property
    @abstractmethod
    def impatience(self) -> Sequence[str]:
        """Which requests came before the time that they were told to wait."""


class SlackDriver(Driver):
    """Slack: a conversation is a thread in a channel. Answers are streamed, or posted and edited."""

    limit = 12_000
    mention = f"<@{FakeSlack.bot_user}>"
    _PEOPLE: ClassVar = {"ada": "U1", "grace": "U2", "otherbot": "U9"}
    _PLACES: ClassVar = {"room": "C1", "hall": "C2"}

    def __init__(self, slack: FakeSlack, start: StartSlack, database_url: str, *, streams: bool) -> None:
        super().__init__(database_url)
        self._slack = slack
        self._start = start
        self._streams = slack.native_streaming = streams
        slack.retry_delays = (0.2,) * 100  # so what is not taken in now is delivered to the next process

    def starts(self, **settings: Any) -> AbstractAsyncContextManager[RunningBob]:
        return self._start(**settings)

    def says(self, text: str, person: str = "ada", *, place: Place = "room", after: Said | None = None) -> Said:
        place = after.place if after else place
        root = after.root if after else None
        said = f"{self.mention} {text}"
        ts = self._slack.says(self._PEOPLE[person], self._PLACES[place], said, thread_ts=root)
        return Said(ts, person, place, root or ts)

    async def delivers_again(self, said: Said) -> None:
        await heard_again(self._slack, said.id)

    def edits(self, said: Said, text: str) -> None:
        self._slack.edits(self._PLACES[said.place], said.id, f"{self.mention} {text}")

    def deletes(self, said: Said) -> None:
        self._slack.deletes(self._PLACES[said.place], said.id)

    def deletes_an_answer_to(self, said: Said) -> None:
        channel = self._PLACES[said.place]
        self._slack.deletes(channel, self._slack.bot_messages(channel, said.root)[0].ts)

    def stops(self, said: Said) -> None:
        self._slack.presses_stop(self._PEOPLE[said.person], self._PLACES[said.place], said.root)

    async def rates(self, said: Said, *, good: bool) -> None:
        last = self._slack.bot_messages(self._PLACES[said.place], said.root)[-1]
        thought = "good" if good else "bad"
        await self._slack.clicks(self._PEOPLE[said.person], last.channel, last.ts, "feedback", thought)

    def files(self, said: Said) -> list[tuple[str, bytes]]:
        return self._slack.files_in(self._PLACES[said.place], said.root)

    def answers(self, said: Said) -> list[str]:
        return self._slack.replies(self._PLACES[said.place], said.root)

    def place_of(self, said: Said) -> str:
        return f"slack:{self._slack.team}:{self._PLACES[said.place]}"

    async def until(self, check: Callable[[], object]) -> None:
        await self._slack.until(lambda _: check(), SECONDS)

    def fails_next(self, call: Call, fault: Fault, *, times: int = 1) -> None:
        streamed: dict[Call, str] = {"post": "chat.startStream", "edit": "chat.stopStream"}
        posted: dict[Call, str] = {"post": "chat.postMessage", "edit": "chat.update"}
        method = (streamed if self._streams else posted)[call]
        if fault == "limited":
            self._slack.fail(method, "ratelimited", retry_after=SECONDS_LIMITED, times=times)
        else:
            self._slack.fail(method, status=500, after=fault == "lost", times=times)

    def refuses(self, said: Said) -> None:
        self._slack.archives(self._PLACES[said.place])
        self._slack.removes_bot(self._PLACES[said.place])

    def goes_away(self) -> None:
        self._slack.stop()

    def comes_back(self) -> None:
        self._slack.start()

    @property
    def writes(self) -> int:
        return sum(call.method.startswith(("chat.", "files.complete", "files.get")) for call in self._slack.calls)

    @property
    def limited(self) -> int:
        return self._slack.rate_limited

    @property
    def impatience(self) -> Sequence[str]:
        return self._slack.impatience


class DiscordDriver(Driver):
    """Discord: Bob opens a thread for a conversation."""

    limit = 2_000
    mention = FakeDiscord.mention
    _PLACES: ClassVar = {"room": "general", "hall": "help"}

    def __init__(self, discord: FakeDiscord, start: StartDiscord, database_url: str) -> None:
        super().__init__(database_url)
        self._discord = discord
        self._start = start

    def starts(self, **settings: Any) -> AbstractAsyncContextManager[RunningBob]:
        return self._start(**settings)

    def says(self, text: str, person: str = "ada", *, place: Place = "room", after: Said | None = None) -> Said:
        place = after.place if after else place
        channel = after.root if after else self._PLACES[place]
        message = self._discord.says(person, channel, f"{self.mention} {text}")
        return Said(message, person, place, after.root if after else message)

    async def delivers_again(self, said: Said) -> None:
        message = self._discord.message(said.id)
        guild = message.channel.guild
        assert guild is not None
        more = {"guild_id": str(guild.id), "member": guild.members[message.author.id].as_json(user=False)}
        self._discord.tell_app("MESSAGE_CREATE", {**message.as_json(self._discord.url), **more}, guild.id)
        after = self._discord.says("root", message.channel.id, f"{self.mention} are you there?")
        await comes_true(lambda: str(after) in [each["event_id"] for each in turns(self.database_url)])

    def edits(self, said: Said, text: str) -> None:
        self._discord.edits(said.id, f"{self.mention} {text}")

    def deletes(self, said: Said) -> None:
        self._discord.deletes(said.id)

    def deletes_an_answer_to(self, said: Said) -> None:
        self._discord.deletes(next(each.id for each in self._messages(said) if each.text))

    def stops(self, said: Said) -> None:
        self._clicks(said, "stop")

    async def rates(self, said: Said, *, good: bool) -> None:
        await self._clicks(said, "good" if good else "bad")

    def _clicks(self, said: Said, action: str) -> Any:
        last = self._messages(said)[-1]
        button = next(each for each in buttons(last) if each.startswith(f"{action}:"))
        return self._discord.clicks(said.person, last.id, button)

    def files(self, said: Said) -> list[tuple[str, bytes]]:
        return [(file.name, file.content) for each in self._messages(said) for file in each.files]

    def answers(self, said: Said) -> list[str]:
        return [each.text for each in self._messages(said) if each.text]

    def _messages(self, said: Said) -> list[DiscordMessage]:
        thread = self._discord.thread_of(said.root)
        beside = [each for each in self._discord.reply_messages(said.root) if thread is None or each.channel != thread]
        if thread is None or thread.deleted:
            return beside
        return beside + [each for each in self._discord.messages(thread.id) if each.by_bot]

    def place_of(self, said: Said) -> str:
        return f"discord:{self._discord.channel(self._PLACES[said.place]).id}"

    async def until(self, check: Callable[[], object]) -> None:
        await self._discord.until(lambda _: check(), SECONDS)

    def fails_next(self, call: Call, fault: Fault, *, times: int = 1) -> None:
        method, path = {
            "post": ("POST", "/channels/*/messages"),
            "edit": ("PATCH", "/channels/*/messages/*"),
        }[call]
        if fault == "limited":
            self._discord.fail(method, path, 429, retry_after=SECONDS_LIMITED, times=times)
        else:
            self._discord.fail(method, path, 503, after=fault == "lost", times=times)

    def refuses(self, said: Said) -> None:
        self._discord.deletes_channel(said.root)

    def goes_away(self) -> None:
        self._discord.stop()

    def comes_back(self) -> None:
        self._discord.start()

    @property
    def writes(self) -> int:
        there = [call for call in self._discord.calls if "/messages" in call.path or "/webhooks/" in call.path]
        return sum(call.method != "GET" for call in there)

    @property
    def limited(self) -> int:
        return self._discord.rate_limited

    @property
    def impatience(self) -> Sequence[str]:
        return self._discord.impatience


class ToyBob(RunningBob):
    """A bot on a board."""

    def __init__(self, settings: Settings, board: Board) -> None:
        super().__init__(settings)
        self._board = board
        self._connection: Connection

    def _calls(self) -> tuple[object, Sequence[str]]:
        return self._connection, ["post", "edit", "delete"]

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[None]:
        toy = LoadedSurface(TOY, ToySettings(toy_token=SecretStr(self._board.token), _env_file=None))
        await toy.check()
        async with toy.open(self.chat, drain_seconds=self.settings.drain_seconds):
            self._connection = self._board.connections[-1]
            yield


class ToyDriver(Driver):
    """The toy: a conversation is a channel."""

    limit = LIMIT
    mention = "@bob"
    takes_files = False

    def __init__(self, fake: FakeOpenAI, board: Board, database_url: str) -> None:
        super().__init__(database_url)
        self._fake = fake
        self._board = board
        self._channels = 0

    @contextlib.asynccontextmanager
    async def starts(self, **settings: Any) -> AsyncIterator[RunningBob]:
        bob = ToyBob(make_settings(self._fake, self.database_url, **{"drain_seconds": 0, **settings}), self._board)
        await bob.start()
        try:
            yield bob
        finally:
            await bob.ends()

    def says(self, text: str, person: str = "ada", *, place: Place = "room", after: Said | None = None) -> Said:
        self._channels += 1
        channel = after.root if after else f"{place}-{self._channels}"
        said = f"{self.mention} {text}"
        message = self._board.says(person, channel, said, by_bot=person == "otherbot")
        return Said(message.id, person, after.place if after else place, channel)

    async def delivers_again(self, said: Said) -> None:
        event = self._board.tell_again(self._board.messages[said.id])
        await comes_true(lambda: event.is_acknowledged)

    def edits(self, said: Said, text: str) -> None:
        self._board.edits(self._board.messages[said.id], f"{self.mention} {text}")

    def deletes(self, said: Said) -> None:
        self._board.deletes(self._board.messages[said.id])

    def deletes_an_answer_to(self, said: Said) -> None:
        self._board.deletes(self._messages(said)[0])

    def stops(self, said: Said) -> None:
        self._board.presses_stop(said.person, self._messages(said)[-1])

    async def rates(self, said: Said, *, good: bool) -> None:
        self._board.rates(said.person, self._messages(said)[-1], good=good)

    def files(self, said: Said) -> list[tuple[str, bytes]]:
        return []

    def answers(self, said: Said) -> list[str]:
        return [each.text for each in self._messages(said)]

    def _messages(self, said: Said) -> list[Message]:
        return [each for each in self._board.read(said.root) if each.author == BOT]

    def place_of(self, said: Said) -> str:
        return f"toy:{said.root}"

    async def until(self, check: Callable[[], object]) -> None:
        await self._board.until(check, SECONDS)

    def fails_next(self, call: Call, fault: Fault, *, times: int = 1) -> None:
        operation: Operation = call
        error = Limited(SECONDS_LIMITED) if fault == "limited" else Unreachable()
        self._board.fail(operation, error, times=times, is_done=fault == "lost")

    def refuses(self, said: Said) -> None:
        self._board.closed.add(said.root)

    def goes_away(self) -> None:
        self._board.is_away = True

    def comes_back(self) -> None:
        self._board.is_away = False

    @property
    def writes(self) -> int:
        return len(self._board.requests)

    @property
    def limited(self) -> int:
        return sum(isinstance(each, Limited) for each in self._board.refusals)

    @property
    def impatience(self) -> Sequence[str]:
        return self._board.impatience
