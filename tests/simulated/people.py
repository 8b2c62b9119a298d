"""People who ask over HTTP, in Slack and on Discord, and who do whatever else they can.

They say the password, or type it into a window; they take back what they said, change it, stop answers, begin anew and
have Bob forget. They are those of the storms of processes, who do more here. Whoever takes something back may be
answered, in part or not at all: that is their excuse before the judge. Who does not hear whether something was done
says no more in that conversation.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import math
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import aiohttp

from bots.shared.asked_again import OFFER
from bots.shared.controls import NOT_NOW, NOTHING_TO_RESET, NOTHING_TO_STOP, STOPPED, UNLOCKED, WAS_RESET
from tests.acceptance.chaos import talks
from tests.acceptance.chaos.answers import answer_in, is_apology
from tests.acceptance.chaos.talks import Crowd, Event, Site, Talk
from tests.conftest import PASSWORD
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.discord_content import File
from tests.fakes.slack_api import FakeSlack
from tests.simulated.files import NAMES, WISH, changed, file_with, named_in, numbers_of, without_files
from tests.simulated.history import PUBLIC, TAKEN_BACK, Asked, Session
from tests.simulated.trouble import DEATHS_TO_BE_GIVEN_UP
from tests.simulated.world import CHANNELS, CIRCLE, EVES_CIRCLE, PASSWORDS, World

SECONDS_OF_A_TRY = 20.0
SHARE_OF_PRIVATE_QUESTIONS = 0.15
SHARE_TAKEN_BACK, SHARE_STOPPED, SHARE_CHANGED = 0.03, 0.02, 0.05
SHARE_OF_RESETS, SHARE_OF_FORGETTING, SHARE_OF_UNLOCKS = 0.05, 0.03, 0.1
SHARE_WITH_FILES, SHARE_THAT_WANTS_FILES = 0.15, 0.15
SHARE_OF_GUESTS, SHARE_IN_LINES = 0.2, 0.4
MOST_LINES, MOST_SECONDS_BETWEEN_LINES = 3, 1.0
SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_ACT = 60.0
SECONDS_TO_HEAR_OF_AN_EDIT, SECONDS_TO_HEAR_OF_A_DELETION = 0.5, 45.0  # which is a control that others hear of later
SENTENCES = {STOPPED, NOTHING_TO_STOP, WAS_RESET, NOTHING_TO_RESET, NOT_NOW, str(OFFER)}
IS_UNLOCKED = f"Private-Bob{UNLOCKED.partition('{name}')[2].partition('{')[0]}"
MARK_OF_PRIVATE_ANSWERS = re.compile(r"🔒 _([^\n]*?)_\s+")
ASSISTANTS = {"Private-Bob": CIRCLE, "Eve": EVES_CIRCLE}
FILES_NOT_SEEN = re.compile(r"\A_I have not seen: [^\n]*_\s+")
_TYPES = {"notes.txt": "text/plain", "photo.png": "image/png"}

talks.SECONDS_TO_ANSWER = 1_000.0  # people here have time
talks.SECONDS_BETWEEN_TRIES = 0.3


class Doing(Talk):
    """What people do here beyond asking; to be mixed into a talk of a surface."""

    surface: str
    rng: random.Random
    sent: dict[str, str] | None = None
    """The names of the files that were sent, by their questions. None: nobody sends any."""
    lines_with: Callable[[str], Collection[str]] = staticmethod(lambda mark: ())
    """The marks of what is stored as lines of one question with this one."""
    joins_lines = False
    """Whether what is said in a row is one question, and a guest says something sometimes."""
    said_by: dict[str, str]
    """Who said what, by the names that a model has to be told."""

    def begin(self, rng: random.Random) -> None:
        """Nothing was done yet."""
        self.rng = rng
        self.circles: dict[str, str] = {}
        self.excuses: dict[str, str] = {}
        self.forgotten: set[str] = set()
        self.erased: set[str] = set()
        self.changed: dict[str, str] = {}
        self.taken_back: dict[str, float] = {}
        self.is_unlocked = False
        self.says_password: set[str] = set()
        self.by_guest: set[str] = set()
        self.said_by = {}
        self._read_at = -1

    def worded(self, question: str, *, circle: str = PUBLIC) -> str:
        """A question as it is said, with a password sometimes, or with that of a `circle`."""
        if self.sent is not None and self.surface != "web" and self.rng.random() < SHARE_THAT_WANTS_FILES:
            question += WISH
        says_password = self.rng.random() < SHARE_OF_PRIVATE_QUESTIONS or bool(circle)
        mark = question.removesuffix(WISH)
        if not says_password:
            is_unlocked = self.is_unlocked and mark not in self.by_guest
            self.circles[mark] = CIRCLE if is_unlocked else PUBLIC
            return question
        self.says_password.add(mark)
        self.circles[mark] = circle or circle_of_number(mark)
        return f"{question} {PASSWORDS[self.circles[mark]]}"

    def speaker(self, event: Event, person: str, guest: str) -> str:
        """Who says something: the person whose talk it is, or a guest."""
        if not self.joins_lines or event is self.events[0] or self.rng.random() >= SHARE_OF_GUESTS:
            return person
        self.by_guest.add(event.question)
        return guest

    def note_speaker(self, event: Event, name: str) -> None:
        """A model has to be told what was said under this name, also once it is changed."""
        self.said_by[event.question] = self.said_by[changed(event.question)] = name

    def files_with(self, event: Event) -> list[tuple[str, bytes]]:
        """The files that a question comes with: their names, and what is in them."""
        if self.sent is None or self.rng.random() >= SHARE_WITH_FILES:
            return []
        name = self.sent[event.question] = self.rng.choice(NAMES)
        return [(name, file_with(event.question, name))]

    def changes(self) -> int:
        """How often anything of what can be read has changed."""
        raise NotImplementedError  # over HTTP nobody looks again and again

    def take_back(self, event: Event) -> None:
        """Delete a question."""

    def stop(self) -> None:
        """End what is being answered."""

    def change(self, event: Event) -> None:
        """Ask something else instead."""

    def changed_text(self, event: Event) -> str:
        """What an event asks from now on."""
        mark = self.changed[event.question] = changed(event.question)
        if event.question in self.by_guest:
            self.by_guest.add(mark)
        # Bob may have heard of either alone; of both, it stays with the assistant that was chosen for it.
        return self.worded(mark, circle=self.circles[event.question])

    async def reset(self) -> bool:
        """Begin anew, once everything is answered. False where nobody knows whether Bob heard of it."""
        return True

    async def forget(self) -> bool:
        """Have Bob forget everything, once everything is answered. False as with `reset`."""
        return True

    async def unlock(self) -> bool:
        """Type the password into a window. False as with `reset`."""
        return True

    def was_reset(self, *, erased: bool = False) -> bool:
        """What was said so far is told to nobody any more."""
        said = {event.question for event in self.events} | {*self.changed.values()}
        self.forgotten |= said
        if erased:
            self.erased |= said
        return True

    def not_asked_after(self, event: Event) -> float:
        """When Bob had certainly heard that something was taken back."""
        return math.inf

    async def _wait(self, event: Event) -> None:
        async with asyncio.timeout(talks.SECONDS_TO_ANSWER):
            while not self._is_settled(event):  # noqa: ASYNC110 - to be woken by each change costs more
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _is_settled(self, event: Event) -> bool:
        answered, apologies = self._read()
        if event.question in answered or self.changed.get(event.question) in answered:
            return True
        marks = [each.question for each in self.events if self.changed.get(each.question) not in answered]
        without = [mark for mark in marks if mark not in answered]
        for _ in range(apologies):
            its = self.together(without[0]) if without else ()
            if event.question in its:
                return True
            without = [mark for mark in without if mark not in its]
        return False

    def _read(self) -> tuple[Collection[str], int]:
        """Which lines are answered, and how many apologies there are. Read again where anything has changed since."""
        if self._read_at != self.changes():
            self._read_at, texts = self.changes(), self.shown()
            answered = {line for answer in map(answer_in, texts) if answer for line in answer.lines}
            self._has_read = answered, sum(map(is_apology, texts))
        return self._has_read

    def together(self, mark: str) -> set[str]:
        """The marks of what was stored as lines of one question with this one, or with what it was changed into."""
        marks = {mark, *([self.changed[mark]] if mark in self.changed else [])}
        if not self.joins_lines:
            return marks
        stored = marks.union(*map(self.lines_with, marks))
        return stored | {before for before, later in self.changed.items() if later in stored}

    def circles_of_deleted_lines(self, event: Event) -> set[str]:
        """The circles of what its speaker deleted, with which it may have been one question."""
        if not self.joins_lines:
            return set()
        is_by_guest, seconds = event.question in self.by_guest, MOST_LINES * MOST_SECONDS_BETWEEN_LINES
        return {
            self.circles[each.question]
            for each in self.events
            if self.excuses.get(each.question) == TAKEN_BACK
            and (each.question in self.by_guest) == is_by_guest
            and abs(each.said_at - event.said_at) < seconds
        } - {PUBLIC}

    def _right_apologies(self, world: World, event: Event, mark: str) -> Iterator[str]:
        lines = self.together(mark)
        is_poisonous = world.model.poisonous in lines
        deaths = DEATHS_TO_BE_GIVEN_UP if is_poisonous else sum(world.deaths[each] for each in lines)
        return world.troubles.right_apologies(
            mark,
            deaths=deaths,
            seconds=(event.answered_at or world.loop.time()) - event.said_at,
            is_pinned=self.is_pinned(event),
            failed_by=world.failed_by(mark),
        )

    def is_pinned(self, event: Event) -> bool:
        """Whether what was shown of an answer could not be taken back."""
        return False

    def session(self, world: World) -> Session:
        """What became of it, as the judge reads it."""
        found = Session(self.label, self.surface, shown=self.shown())
        found.forgotten = self.forgotten
        for event in self.events:
            mark = event.question
            before = [each.question for each in self.events if each is not event and not self.in_order(event, each)]
            before += [self.changed[each] for each in before if each in self.changed]
            asked = Asked(mark, event.said_at, self.circles.get(mark, PUBLIC), event.answered_at, before=before)
            asked.speaker = "guest" if mark in self.by_guest else ""
            asked.says_password = mark in self.says_password
            asked.excuse = self.excuses.get(mark, "")
            asked.together = self.together(mark)
            asked.left_by = self.circles_of_deleted_lines(event)
            marks = sorted(asked.together)
            asked.apologies = frozenset(each for one in marks for each in self._right_apologies(world, event, one))
            asked.not_asked_after = self.not_asked_after(event)
            found.asked.append(asked)
            if mark in self.changed:
                later, left_by = self.changed[mark], asked.left_by
                asked = Asked(later, event.said_at, self.circles[later], before=before, instead_of=mark)
                asked.speaker, asked.says_password = found.asked[-1].speaker, later in self.says_password
                asked.left_by = left_by
                found.asked.append(asked)
        return found


class WebTalk(Doing, talks.WebTalk):
    """A session over HTTP."""

    surface = "web"

    def __init__(self, label: str, site: ResettingSite, rng: random.Random) -> None:
        super().__init__(label, site)
        self._resetting_site = site
        self.begin(rng)

    async def _wait(self, event: Event) -> None:
        await self._asking[event.question]

    async def _ask(self, event: Event) -> None:
        text = self.worded(event.question)
        self._resetting_site.files[self.label, event.question] = self.files_with(event)
        self._answers[event.question] = await self._site.ask(self.label, text)
        event.answered_at = asyncio.get_running_loop().time()

    def is_pinned(self, event: Event) -> bool:
        return self._resetting_site.tries[self.label, event.question] > 1  # another reader of it relies on it

    def session(self, world: World) -> Session:
        found = super().session(world)
        found.refused = self._resetting_site.refused[self.label]
        return found

    async def reset(self) -> bool:
        while not await self._resetting_site.reset(self.label):  # noqa: ASYNC110
            await asyncio.sleep(talks.SECONDS_BETWEEN_TRIES)
        return self.was_reset()

    async def forget(self) -> bool:
        while not await self._resetting_site.forget(self.label):  # noqa: ASYNC110
            await asyncio.sleep(talks.SECONDS_BETWEEN_TRIES)
        return self.was_reset(erased=True)


def circle_of_number(mark: str) -> str:
    """The circle whose password is said in this question, if any is: they alternate."""
    return CIRCLE if int(mark[1:].partition("-")[0]) % 2 else EVES_CIRCLE


def _locks_in(texts: Sequence[str]) -> dict[str, str]:
    """The circles whose private assistants are named above answers, by what they answer."""
    locked = [(found[1], text) for text in texts if (found := MARK_OF_PRIVATE_ANSWERS.match(text))]
    named = [(name, answer_in(said)) for name, text in locked for said in _answers_in([text])]
    return {answer.question: ASSISTANTS[name] for name, answer in named if answer is not None}


def _answers_in(texts: Sequence[str]) -> Sequence[str]:
    """What is said of questions, without the lock above what is private, and what is said of commands."""
    said = [MARK_OF_PRIVATE_ANSWERS.sub("", text) for text in texts if text not in SENTENCES]
    return [without_files(FILES_NOT_SEEN.sub("", text)) for text in said]


class SlackTalk(Doing, talks.SlackTalk):
    """A thread in a channel."""

    surface = "slack"

    def is_pinned(self, event: Event) -> bool:
        return True

    def shown(self) -> Sequence[str]:
        return _answers_in(super().shown())

    def __init__(self, label: str, slack: FakeSlack, channel: str, rng: random.Random) -> None:
        super().__init__(label, slack, channel, rng)
        self.begin(rng)
        self._user = f"U{label}"  # whose windows are of this talk
        slack.add_user(self._user, label)
        slack.add_user(f"{self._user}g", f"guest of {label}")

    def _say(self, event: Event) -> None:
        thread = self._thread if len(self.events) > 1 else None
        takes_part = any(each.question not in self.erased for each in self.events[:-1])
        is_mentioned = not takes_part or self._rng.random() < talks.MENTIONS
        mention = f"<@{FakeSlack.bot_user}> " if is_mentioned else ""
        speaker = self.speaker(event, self._user, f"{self._user}g")
        self.note_speaker(event, self.label if speaker == self._user else f"guest of {self.label}")
        text, sent = f"{mention}{self.worded(event.question)}", self.files_with(event)
        files = [self._slack.add_file(name, data, _TYPES[name], speaker) for name, data in sent]
        ts = self._slack.says(speaker, self._channel, text, thread_ts=thread, files=files)
        self._ts[event.question] = ts
        if self._rng.random() < talks.DELIVERED_AGAIN:
            self._slack.deliver_again(ts)

    def session(self, world: World) -> Session:
        found = super().session(world)
        found.files = numbers_of(data for _, data in self._slack.files_in(self._channel, self._thread))
        found.named = named_in(talks.SlackTalk.shown(self))
        found.locks = _locks_in(talks.SlackTalk.shown(self))
        return found

    def changes(self) -> int:
        return self._slack.changes

    def take_back(self, event: Event) -> None:
        if event is not self.events[0]:  # whose thread this is
            self.excuses[event.question] = TAKEN_BACK
            self.taken_back[event.question] = asyncio.get_running_loop().time()
            self._slack.deletes(self._channel, self._ts[event.question])

    def change(self, event: Event) -> None:
        self.taken_back[event.question] = asyncio.get_running_loop().time()
        text = f"<@{FakeSlack.bot_user}> {self.changed_text(event)}"
        self._slack.edits(self._channel, self._ts[event.question], text)

    def stop(self) -> None:
        self.excuses |= {event.question: "stopped" for event in self.open}
        self._slack.says(self._user, self._channel, "stop", thread_ts=self._thread)

    def not_asked_after(self, event: Event) -> float:
        """Since when it was acknowledged that a question is taken back, which had been acknowledged before."""
        said = self.taken_back.get(event.question)
        if said is None or min(self._acked(event), default=math.inf) > said:
            return math.inf
        ts, heard = self._ts[event.question], SECONDS_TO_HEAR_OF_A_DELETION
        if event.question in self.changed:
            heard = SECONDS_TO_HEAR_OF_AN_EDIT
        acked = [each for each in self._slack.deliveries if each.acked_after and each.sent_at >= said]
        about = [each for each in acked if _is_changed(each.payload.get("event", {}), ts)]
        return min((each.sent_at + each.acked_after + heard for each in about if each.acked_after), default=math.inf)

    async def reset(self) -> bool:
        before = self._times_reset()
        self._slack.says(self._user, self._channel, "reset", thread_ts=self._thread)
        with contextlib.suppress(TimeoutError):
            await self._slack.until(lambda _: self._times_reset() > before, SECONDS_TO_ACT)
            return self.was_reset()
        return False

    def _times_reset(self) -> int:
        return self._slack.replies(self._channel, self._thread).count(WAS_RESET)

    async def forget(self) -> bool:
        ts = self._slack.bot_messages(self._channel, self._thread)[-1].ts
        shortcut = self._slack.shortcut(self._user, self._channel, ts, "forget_thread")
        is_done = await self._confirms(shortcut, {}, "Forgotten")
        return is_done and self.was_reset(erased=True)

    async def unlock(self) -> bool:
        command = self._slack.slash(self._user, self._channel, "/bob", "unlock")
        self.is_unlocked = await self._confirms(command, {"password": {"typed": PASSWORD}}, IS_UNLOCKED)
        return self.is_unlocked

    async def _confirms(self, begun: Any, values: Any, told: str) -> bool:
        """Fill in the window that something opens; whether Bob says there that it is done."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_ACT):
                await begun
                await self._slack.until(lambda _: self._slack.open_views(self._user), SECONDS_TO_ACT)
                view = self._slack.open_views(self._user)[-1]
                await self._slack.submits(self._user, view["id"], values)
                views = self._slack.open_views(self._user)
                return bool(views) and told in json.dumps(views[-1]["blocks"])
        return False


def _is_changed(event: Mapping[str, Any], ts: str) -> bool:
    return ts in (event.get("deleted_ts"), (event.get("message") or {}).get("ts"))


class DiscordTalk(Doing, talks.DiscordTalk):
    """A thread that Bob opens on a mention."""

    surface = "discord"

    def shown(self) -> Sequence[str]:
        return _answers_in(super().shown())

    def __init__(self, label: str, discord: FakeDiscord, rng: random.Random) -> None:
        super().__init__(label, discord, rng)
        self.begin(rng)
        self._ids: dict[str, int] = {}

    def _say(self, event: Event) -> None:
        speaker = self.speaker(event, self._user, "ada" if self._user == "grace" else "grace")
        self.note_speaker(event, speaker)
        text = f"{FakeDiscord.mention} {self.worded(event.question)}"
        files = [File(name, data, _TYPES[name]) for name, data in self.files_with(event)]
        id_ = self._discord.says(speaker, self._first or "general", text, attachments=files)
        self._ids[event.question] = id_
        self._first = self._first or id_

    def session(self, world: World) -> Session:
        found = super().session(world)
        where = self._discord.thread_of(self._first)
        messages = self._discord.messages(self._first) if where else self._discord.reply_messages(self._first)
        found.files = numbers_of(file.content for each in messages if each.by_bot for file in each.files)
        found.named = named_in(talks.DiscordTalk.shown(self))
        found.locks = _locks_in(talks.DiscordTalk.shown(self))
        return found

    def changes(self) -> int:
        return self._discord.changes

    def take_back(self, event: Event) -> None:
        if event is not self.events[0]:
            self.excuses[event.question] = TAKEN_BACK
            self._discord.deletes(self._ids[event.question])

    def change(self, event: Event) -> None:
        text = f"{FakeDiscord.mention} {self.changed_text(event)}"
        self._discord.edits(self._ids[event.question], text)

    def stop(self) -> None:
        self.excuses |= {event.question: "stopped" for event in self.open}
        with contextlib.suppress(ValueError, KeyError):  # no such command, or thread, yet
            self._discord.slash(self._user, self._thread, "stop")

    async def reset(self) -> bool:
        return await self._is_told("new", WAS_RESET) and self.was_reset()

    async def forget(self) -> bool:
        return await self._is_told("forget", "Forgotten") and self.was_reset(erased=True)

    async def unlock(self) -> bool:
        self._user = f"user{self.label}"
        self._discord.add_user(self._user, guilds=["alpha"])
        with contextlib.suppress(TimeoutError, ValueError):  # there is no such command yet
            window = self._discord.slash(self._user, "general", "unlock")
            await window
            if window.modal is not None:
                sent = self._discord.submits(self._user, window, {"password": PASSWORD})
                self.is_unlocked = await self._reads(sent, IS_UNLOCKED)
        return self.is_unlocked

    async def _is_told(self, command: str, sentence: str) -> bool:
        with contextlib.suppress(ValueError, KeyError):  # no such command, or thread, yet
            return await self._reads(self._discord.slash(self._user, self._thread, command), sentence)
        return False

    @property
    def _thread(self) -> int:
        thread = self._discord.thread_of(self._first)
        return thread.id if thread is not None else self._first

    async def _reads(self, interaction: Any, sentence: str) -> bool:
        with contextlib.suppress(TimeoutError):
            await self._discord.until(lambda _: interaction.failure or interaction.text, SECONDS_TO_ACT)
        return sentence in interaction.text


class ResettingSite(Site):
    """Servers of which one can also begin a session anew. The keys of questions are numbers within their session."""

    def __init__(self, http: aiohttp.ClientSession, *, try_seconds: float) -> None:
        super().__init__(http, try_seconds=try_seconds)
        self.tries: Counter[tuple[str, str]] = Counter()
        self.refused: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
        self.files: dict[tuple[str, str], list[tuple[str, bytes]]] = {}

    async def _try(self, url: str, session: str, question: str) -> str | None:
        body: dict[str, Any] = {"session_id": session, "user_input": question}
        headers = {"Idempotency-Key": question.partition("-")[0]}
        mark = question.partition(" ")[0]
        if files := self.files.get((session, mark)):
            in_text = [(name, base64.b64encode(data).decode()) for name, data in files]
            body["files"] = [{"name": name, "data": f"data:{_TYPES[name]};base64,{data}"} for name, data in in_text]
        self.tries[session, mark] += 1
        try:
            async with self._http.post(f"{url}/ask", json=body, headers=headers, timeout=self._limit) as response:
                said = await response.json()
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return None
        if response.status < 500:
            return str(said.get("response", said))
        if is_apology(str(said["detail"])):
            self.refused[session].append((mark, str(said["detail"])))
        return None

    async def reset(self, session: str) -> bool:
        """Whether a session has begun anew."""
        return await self._is_done("POST", f"/sessions/{session}/reset")

    async def forget(self, session: str) -> bool:
        """Whether a session is forgotten."""
        return await self._is_done("DELETE", f"/sessions/{session}")

    async def _is_done(self, method: str, path: str) -> bool:
        self._turn += 1
        url = self.urls[self._turn % len(self.urls)]
        try:
            async with self._http.request(method, url + path, timeout=self._limit) as response:
                await response.read()
                return response.status < 300 or response.status == 404
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            return False


class People(Crowd):
    """A crowd that also takes back and begins anew, and of whom one may ask a question that kills."""

    may_unlock = True
    """Whether a password that was typed into a window holds for fifteen minutes: not where clocks jump."""
    sent: dict[str, str] | None = None
    """See `Doing`."""
    may_change = True
    """Whether they change what they asked."""
    lines_with: Callable[[str], Collection[str]] | None = None
    """See `Doing`; None where each message is a question."""
    said_by: dict[str, str]
    poison: Callable[[str], object] | None = None
    """Is told the question that kills, which is the second of a conversation in Slack or on Discord."""

    def begin(self, new_talk: Callable[[str], Talk]) -> Talk:
        talk = super().begin(new_talk)
        if isinstance(talk, Doing):
            talk.sent = self.sent
        if isinstance(talk, SlackTalk | DiscordTalk) and self.lines_with is not None:
            talk.lines_with, talk.joins_lines, talk.said_by = self.lines_with, True, self.said_by
        if self.poison is not None and isinstance(talk, SlackTalk | DiscordTalk):
            self.poison(f"Q2-{talk.label}")
            self.poison = None
        return talk

    async def _hold(self, talk: Talk, most: int) -> list[asyncio.Task[bool]]:
        assert isinstance(talk, Doing)
        waiting: list[asyncio.Task[bool]] = []
        if self.may_unlock and self._rng.random() < SHARE_OF_UNLOCKS and not await talk.unlock():
            return []
        for _ in self._numbers(most):
            if talk.events and not talk.open and not await self._begin_anew(talk):
                break
            if not talk.events or talk.may_go_on:
                said = await self._say(talk, waiting)
                event = self._rng.choice(said) if len(said) > 1 else said[0]
                if await self._think_again(talk, event):
                    break  # nobody waits for an answer to that
            if not talk.may_go_on or self._rng.random() < 0.5:
                await asyncio.wait({waiting[-1]})
                if not waiting[-1].result():
                    break
            else:
                await asyncio.sleep(self._rng.uniform(0, 0.15))
        return [each for each, event in zip(waiting, talk.events, strict=False) if event.question not in talk.excuses]

    async def _say(self, talk: Doing, waiting: list[asyncio.Task[bool]]) -> Sequence[Event]:
        """Ask the next question, maybe in several lines, and let somebody wait for the answer to each."""
        said: list[Event] = []
        in_lines = talk.joins_lines and talk.events and self._rng.random() < SHARE_IN_LINES
        for _ in range(self._rng.randint(2, MOST_LINES) if in_lines else 1):
            if said:
                await asyncio.sleep(self._rng.uniform(0, MOST_SECONDS_BETWEEN_LINES))
            said.append(self.say_in(talk))
            waiting.append(asyncio.create_task(talk.answered(said[-1])))
        return said

    async def _begin_anew(self, talk: Doing) -> bool:
        """Maybe reset the talk, or have it forgotten. False where nobody knows whether that was done."""
        chance = self._rng.random()
        if chance < SHARE_OF_RESETS:
            return await talk.reset()
        return chance > SHARE_OF_RESETS + SHARE_OF_FORGETTING or await talk.forget()

    async def _think_again(self, talk: Doing, event: Event) -> bool:
        """Maybe change what was asked, take it back, or stop what is answered. Whether it is of no interest now."""
        chance = self._rng.random()
        if chance > SHARE_TAKEN_BACK + SHARE_STOPPED + SHARE_CHANGED:
            return False
        await asyncio.sleep(self._rng.uniform(0, 0.5))
        if chance < SHARE_TAKEN_BACK:
            talk.take_back(event)
        elif chance < SHARE_TAKEN_BACK + SHARE_STOPPED:
            talk.stop()
        elif event.answered_at is None and self.may_change:
            talk.change(event)
        return event.question in talk.excuses


def crowd(
    world: World, http: aiohttp.ClientSession, rng: random.Random, people: Mapping[str, int], *, questions: int
) -> People:
    """So many people on each surface, who ask so many questions together."""
    site = ResettingSite(http, try_seconds=SECONDS_OF_A_TRY)
    site.urls = [each.url for each in world.instances]
    kinds: dict[str, Callable[[str], Talk]] = {
        "web": lambda number: WebTalk(f"w{number}", site, rng),
        "slack": lambda number: SlackTalk(f"k{number}", world.slack, CHANNELS[int(number) % len(CHANNELS)], rng),
        "discord": lambda number: DiscordTalk(f"d{number}", world.discord, rng),
    }
    return People([kinds[name] for name, number in people.items() for _ in range(number)], rng, events=questions)


def what_is_kept_of(world: World, talk: Talk) -> list[str]:
    """What Bob still has of what he was told to forget."""
    erased = talk.erased if isinstance(talk, Doing) else ()
    files = [mark for mark in sorted(erased) if mark in world.model.sent]
    return [f"{mark} is kept, though it was forgotten" for mark in sorted(erased) if world.turns_of(mark)] + [
        f"the file of {mark} is kept, though that was forgotten" for mark in files if world.keeps_file_of(mark)
    ]


def sessions_of(world: World, talks_: Sequence[Talk]) -> list[Session]:
    """What became of all conversations."""
    return [talk.session(world) for talk in talks_ if isinstance(talk, Doing) and talk.events]
