"""Whatever happens, what was said in a circle stays in it, what was not read is nowhere, and a guess is one bit.

Two properties over random histories of several people on a chat platform and the web. In the first, everything that a
public assistant, the other circle, a log or a public transcript could see is searched for what it must not hold, and
each text must have the fate that a small model of the rules says. In the second the same history is lived once for each
of several PINs, and what an attacker sees is compared: who does not know the PIN may rule out no more of them in a step
than words were counted in it.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core import (
    AnswerFailed,
    Chat,
    Frame,
    NoPrivateHere,
    PasswordsClosed,
    Preparation,
    Question,
    Remarks,
    Turn,
    WrongPassword,
)  # fmt: skip
from core.store.clock import Clock
from core.store.guesses import MOST_WRONG_WORDS, MOST_WRONG_WORDS_OF_A_SURFACE, MOST_WRONG_WORDS_OF_AN_ADDRESS, digest
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.database import change, contents, rows
from tests.core.test_privacy import listening
from tests.fakes.openai_api import Asked, FakeOpenAI
from tests.fakes.openai_model import texts_of

STRONG = "pomelo-kestrel-83-viaduct"
PIN = "7391055284"  # too long to be anywhere by chance, and still no strong password
CHATS = ("slack:T1:C1:a", "slack:T1:C2:b")
WEB = "web:public:w"
EARLIER = "Earlier in this thread, the oldest first"
PEOPLE = ("slack:T1:U0", "slack:T1:U1", "slack:T1:U2")

ASSISTANTS = """
[[assistant]]
name = "Bob"
model = "model-public"
instructions = "You are Bob."

[[assistant]]
name = "Ben"
model = "model-public"
instructions = "You are Ben."

[[assistant]]
name = "Private-Bob"
model = "model-A"
instructions = "You are Private-Bob."
private = true
password_from = "PRIVATE_BOB_PASSWORD"

[[assistant]]
name = "Pam"
model = "model-B"
instructions = "You are Pam."
private = true
password_from = "PAM_PASSWORD"
"""
CIRCLES = {"Private-Bob": "A", "Pam": "B"}

Fate = Literal["public", "A", "B", "unread"]


def wrong_words(count: int, length: int) -> list[str]:
    """Words that look like a PIN of this length."""
    return [str(10 ** (length - 1) + 1 + n) for n in range(count)]


# ── histories ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ask:
    """Somebody asks in a chat (0, 1) or on the web (2). `read_back`: the thread before it is full of numbers."""

    who: int
    where: int
    says: str
    read_back: bool = False


@dataclass(frozen=True)
class Edit:
    """Somebody changes what they asked in a chat before it is answered."""

    who: int
    where: int
    first: str
    then: str


@dataclass(frozen=True)
class Window:
    """Somebody types something where a password is asked for, in a chat."""

    who: int
    where: int
    typed: str


@dataclass(frozen=True)
class Do:
    """Something else happens."""

    what: Literal["lapse", "hour", "restart", "reset", "choose", "crowd"]


Step = Ask | Edit | Window | Do

SAYS = [
    "{text}", "{pin} {text}", "{text}: ({pin})", "{strong} {text}", "{pin} {strong} {text}", "{w1} {text}",
    "{w1} {pin} {text}", "{text} {w10}", "{text} {w19} {pin}", "{w20} {text}", "{w20} {pin} {text}", "{w25} {text}",
    "{wide}: {text}",
]  # fmt: skip
asks = st.builds(
    Ask, who=st.integers(0, 2), where=st.integers(0, 2), says=st.sampled_from(SAYS),
    read_back=st.sampled_from([False, False, True]),
)  # fmt: skip
edits = st.builds(
    Edit, who=st.integers(0, 2), where=st.integers(0, 1), first=st.sampled_from(SAYS[:6]), then=st.sampled_from(SAYS)
)
windows = st.builds(
    Window, who=st.integers(0, 2), where=st.integers(0, 1),
    typed=st.sampled_from(["{pin}", " {pin} ", "{strong}", "{w1}", "{w20}", "{pin} {w1}", "hello"]),
)  # fmt: skip
others = st.builds(Do, st.sampled_from(["lapse", "hour", "restart", "reset", "choose", "crowd"]))
histories = st.lists(st.one_of(asks, asks, asks, edits, edits, windows, others), min_size=6, max_size=16)


# ── living through one ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Budgets:
    """The rules of the budgets, as the design tells them."""

    spent: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def reads(self, whose: Sequence[tuple[str, int]], candidates: set[str], pin: str) -> bool:
        """Whether a text with these words is read; wrong ones are spent then."""
        if candidates and any(self.spent[name] + len(candidates) > most for name, most in whose):
            return False
        for name, _ in whose:
            self.spent[name] += len(candidates - {pin})
        return True


@dataclass
class Life:
    """One history, lived with one PIN."""

    fake: FakeOpenAI
    url: str
    folder: Path
    pin: str
    mode: str = "conversations"
    budgets: Budgets = field(default_factory=Budgets)
    unlocks: dict[tuple[str, str], str] = field(default_factory=dict)
    fates: dict[str, Fate] = field(default_factory=dict)
    begun: int = 0
    leaks: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)  # a public assistant
    seen: list[list[Any]] = field(default_factory=list)  # by everybody, at each step
    counted: list[int] = field(default_factory=list)
    tried: list[set[str]] = field(default_factory=list)  # in what was read

    def check(self) -> None:
        """To be overwritten by whoever looks behind the scenes after each step."""

    # ── steps ────────────────────────────────────────────────────────────────

    async def live(self, history: Sequence[Step]) -> None:
        """Go through the whole history, in as many processes as it takes."""
        self.fake.answer = self._answer
        file = self.folder / "assistants.toml"
        file.write_text(ASSISTANTS)
        remaining = list(history)
        while remaining:
            async with opened(
                self.fake, self.url, openai_threads=self.mode, assistants_file=file, private_bob_password=self.pin
            ) as chat:
                taken: asyncio.Queue[Turn] = asyncio.Queue()

                async def take(chat: Chat = chat, taken: asyncio.Queue[Turn] = taken) -> None:
                    async for turn in chat.orphaned("slack"):
                        taken.put_nowait(turn)

                taking = asyncio.create_task(take())
                while remaining:
                    step = remaining.pop(0)
                    if step == Do("restart"):
                        break
                    await self._live_through(chat, taken, step)
                taking.cancel()

    async def _live_through(self, chat: Chat, taken: asyncio.Queue[Turn], step: Step) -> None:
        before = self._guesses()
        self.seen.append([])
        self.tried.append(set())
        told = len(self.told)
        if isinstance(step, Ask):
            await self._ask(chat, step)
        elif isinstance(step, Edit):
            await self._edit(chat, taken, step)
        elif isinstance(step, Window):
            await self._type(chat, step)
        else:
            await self._do(chat, step)
        self.counted.append(self._guesses() - before)
        self.seen[-1] += [self.told[told:], await chat.are_passwords_closed()]
        for session in (*CHATS, WEB):
            public = await chat.exchanges(session, private=False, before=None, limit=100)
            self.seen[-1].append([(each.number, each.question, each.answer, each.private) for each in public])
            self._look_for("A", "B", "unread", within=repr(public), what="a public transcript")
        self.check()

    async def _ask(self, chat: Chat, step: Ask) -> None:
        marker, text = self._worded(step.says)
        question = self._question(step.who, step.where, text)
        expected = self._expect(step.who, step.where, text)
        self.fates[marker] = expected
        try:
            turn = await chat.accept(question)
        except (PasswordsClosed, NoPrivateHere) as refusal:
            self.seen[-1] += [type(refusal), str(refusal), getattr(refusal, "retry_after", 0)]
            assert expected == "unread"
            return
        assert turn is not None
        await self._see(chat, turn, expected, read_back=step.read_back)

    async def _edit(self, chat: Chat, taken: asyncio.Queue[Turn], step: Edit) -> None:
        marker, first = self._worded(step.first)
        turn = await chat.accept(self._question(step.who, step.where, first))
        assert turn is not None
        before = self.fates[marker] = self._expect(step.who, step.where, first)
        marker, then = self._worded(step.then)
        after = self._expect(step.who, step.where, then, is_edit=True)
        self.fates[marker] = before if after == "public" and before in CIRCLES.values() else after
        assert await chat.amend(turn, then)
        await chat.heartbeat()
        async with asyncio.timeout(10):
            turn = await taken.get()
        await self._see(chat, turn, self.fates[marker])

    async def _see(self, chat: Chat, turn: Turn, expected: Fate, *, read_back: bool = False) -> None:
        fate = "unread" if turn.unread else CIRCLES.get(turn.assistant, "public")
        assert fate == expected
        shown = ""
        answer = chat.answering(turn, prepare=self._numbers if read_back else None)
        try:
            shown = (await answer.whole()).text
        except AnswerFailed as failure:
            shown = str(failure)
            assert (fate, shown) == ("unread", PasswordsClosed.sentence)
        if turn.destination is not None:
            await chat.shown(turn)
        private = fate in ("A", "B")
        title = "" if private else chat.masked(turn.question)
        self.seen[-1] += [turn.assistant, turn.private, turn.lapsed, title, shown]

    async def _type(self, chat: Chat, step: Window) -> None:
        person, place = PEOPLE[step.who], CHATS[step.where][:-2]
        typed = self._fill(step.typed, "")
        word = typed.strip()
        candidates = {word} & self._candidates(word)
        reads = self._reads(step.who, step.where, candidates)
        opens = {self.pin: "Private-Bob", STRONG: "Pam"}.get(word) if reads else None
        try:
            opened: str | None = (await chat.unlock(person, place, "slack", typed)).name
            self.seen[-1].append(opened)
            self.unlocks[person, place] = str(opened)
        except (WrongPassword, PasswordsClosed) as refusal:
            self.seen[-1] += [type(refusal), str(refusal), getattr(refusal, "retry_after", 0)]
            opened = "closed" if isinstance(refusal, PasswordsClosed) else None
        assert opened == (opens if reads else "closed")

    async def _do(self, chat: Chat, step: Do) -> None:
        if step.what == "lapse":
            change(self.url, "UPDATE unlock SET until = until - 901")
            self.unlocks.clear()
        elif step.what == "hour":
            change(self.url, "UPDATE guess SET at = at - 3601")
            change(self.url, "UPDATE lockout SET until = until - 3601")
            self.budgets.spent.clear()
        elif step.what == "crowd":  # thirty of them, who say twenty words each
            most = MOST_WRONG_WORDS_OF_A_SURFACE
            insert = "INSERT INTO guess (subject, at, words) VALUES (:subject, :at, :words)"
            change(self.url, insert, subject=digest("surface:slack"), at=self._now(), words=most)
            self.budgets.spent["surface:slack"] += most
        elif step.what == "choose":
            await chat.choose(CHATS[0], "slack", "Ben")
        elif step.what == "reset":
            for session in (*CHATS, WEB):
                await chat.reset(session)

    def _now(self) -> float:
        return Clock("sqlite").params()["now"] if self.url.startswith("sqlite") else time.time()

    # ── what is said, and what must become of it ─────────────────────────────

    def _fill(self, says: str, text: str) -> str:
        words = {f"w{n}": " ".join(wrong_words(n, len(self.pin))) for n in (1, 10, 19, 20, 25)}
        wide = "".join(chr(ord(digit) + 0xFEE0) for digit in self.pin)
        return says.format(text=text, pin=self.pin, strong=STRONG, wide=wide, **words)

    def _worded(self, says: str) -> tuple[str, str]:
        self.begun += 1
        marker = f"m{self.begun}q"
        return marker, self._fill(says, f"{marker} please")

    def _question(self, who: int, where: int, text: str) -> Question:
        if where == 2:
            return Question("web", WEB, text, address=f"192.0.2.{who}", may_wait=False)
        place = CHATS[where][:-2]
        return Question(
            "slack", CHATS[where], text, event_id=f"E{self.begun}", person=PEOPLE[who], place=place,
            destination={"ts": str(self.begun)}, frame=Frame(f"Person {who}"),
        )  # fmt: skip

    def _candidates(self, text: str) -> set[str]:
        plain = text.translate({0xFEE0 + code: chr(code) for code in range(48, 58)})
        return set(re.findall(rf"(?<!\w)\d{{{len(self.pin)}}}(?!\w)", plain))

    def _whose(self, who: int, where: int) -> list[tuple[str, int]]:
        if where == 2:
            address = (f"address:{who}", MOST_WRONG_WORDS_OF_AN_ADDRESS)
            return [(f"web:{who}", MOST_WRONG_WORDS), address, ("surface:web", MOST_WRONG_WORDS_OF_A_SURFACE)]
        return [(PEOPLE[who], MOST_WRONG_WORDS), ("surface:slack", MOST_WRONG_WORDS_OF_A_SURFACE)]

    def _reads(self, who: int, where: int, candidates: set[str]) -> bool:
        reads = self.budgets.reads(self._whose(who, where), candidates, self.pin)
        if reads:
            self.tried[-1] |= candidates
        return reads

    def _expect(self, who: int, where: int, text: str, *, is_edit: bool = False) -> Fate:
        candidates = self._candidates(text)
        if not self._reads(who, where, candidates):
            return "unread"
        if self.pin in candidates:
            return "A"
        if STRONG in text:
            return "B"
        unlocked = None if is_edit or where == 2 else self.unlocks.get((PEOPLE[who], CHATS[where][:-2]))
        return CIRCLES.get(unlocked, "public") if unlocked else "public"  # type: ignore[return-value]

    async def _numbers(self, _: Turn) -> Preparation:
        """A thread in which people whose names are numbers say numbers, and files that are called so."""
        words = [self.pin, *wrong_words(3, len(self.pin)), STRONG]
        return Preparation(
            frame=Frame(f"Person {words[1]}", [f"{word}.txt" for word in words]),
            remarks=[Remarks(EARLIER, [(word, f"{word} it is") for word in words])],
        )

    # ── what must not be seen ────────────────────────────────────────────────

    def _answer(self, asked: Asked) -> str:
        read = "\n".join(text for item in asked.view for text in texts_of(item))
        whose = asked.model.removeprefix("model-")
        self._look_for(*{"A": "B", "B": "A"}.get(whose, "AB"), "unread", within=read, what=asked.model)
        if whose == "public":
            self.told.append(read)
        return f"An answer of {whose} to: {' '.join(texts_of(asked.input[-1]))}"

    def _look_for(self, *fates: str, within: str, what: str) -> None:
        found = [marker for marker, fate in self.fates.items() if fate in fates and marker in within]
        if found:
            self.leaks.append(f"{found} in {what}")

    def _guesses(self) -> int:
        found = rows(self.url, "SELECT subject, SUM(words) AS words FROM guess GROUP BY subject")
        mine = {digest(f"person:{person}") for person in PEOPLE} | {
            digest(f"session:{WEB} 192.0.2.{who}") for who in range(3)
        }
        return sum(int(row["words"]) for row in found if row["subject"] in mine)


@dataclass
class Watched(Life):
    """A history that is watched behind the scenes."""

    logged: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Nothing is where it must not be."""
        public = [repr(row) for row in rows(self.url, "SELECT * FROM turn") if not row["private"]]
        self._look_for("A", "B", "unread", within="\n".join(public), what="a row of a public turn")
        everything, log = contents(self.url), "\n".join(self.logged)
        self._look_for("unread", within=everything + self.fake.texts(), what="a table or a request")
        self._look_for("public", "A", "B", "unread", within=log, what="the log")
        for secret in (self.pin, STRONG, self._fill("{wide}", "")):
            for where, text in (("a table", everything), ("a request", self.fake.texts()), ("the log", log)):
                if secret in text:
                    self.leaks.append(f"a password in {where}")
        assert self.leaks == []


def watch(history: Sequence[Step], mode: str, url: str = "") -> None:
    folder = Path(tempfile.mkdtemp(prefix="bob-walls-"))
    try:
        with listening() as logged, FakeOpenAI(check=False) as fake:
            life = Watched(fake, url or f"sqlite:///{folder / 'bob.db'}", folder, PIN, mode, logged=logged)
            asyncio.run(life.live(history))
    finally:
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _a_second_circle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAM_PASSWORD", STRONG)


slow = settings(
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],  # to find a shorter history takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@given(history=histories, mode=st.sampled_from(["conversations", "local"]))
@settings(slow, max_examples=12)
def test_no_history_carries_anything_over_a_wall(mode: str, history: list[Step]) -> None:
    watch(history, mode)


@given(history=histories, mode=st.sampled_from(["conversations", "local"]))
@settings(slow, max_examples=4)
def test_no_history_carries_anything_over_a_wall_in_postgresql(postgresql: str, mode: str, history: list[Step]) -> None:
    watch(history, mode, new_postgresql_database(postgresql))


KNOWN_HISTORIES: dict[str, list[Step]] = {
    "two circles in a session": [
        Ask(0, 0, SAYS[1]), Ask(1, 0, SAYS[3]), Ask(0, 0, SAYS[1]), Ask(1, 0, SAYS[3]), Ask(2, 0, SAYS[0]),
    ],
    "closed, and then others": [Ask(0, 0, SAYS[9]), Ask(0, 0, SAYS[1]), Ask(1, 0, SAYS[0], True), Ask(1, 0, SAYS[1])],
    "edits": [Edit(0, 0, SAYS[0], SAYS[1]), Edit(0, 0, SAYS[0], SAYS[11]), Edit(1, 0, SAYS[1], SAYS[3])],
    "a crowd": [Do("crowd"), Ask(0, 0, SAYS[1]), Ask(0, 2, SAYS[1]), Do("hour"), Ask(0, 0, SAYS[2])],
    "a window that closes": [
        Window(0, 0, "{pin}"), Ask(0, 0, SAYS[0]), Ask(0, 0, SAYS[9]), Window(0, 0, "{pin}"), Ask(0, 0, SAYS[1]),
        Do("lapse"), Ask(0, 0, SAYS[0]), Ask(0, 0, SAYS[1]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("mode", ["conversations", "local"])
@pytest.mark.parametrize("name", KNOWN_HISTORIES)
def test_these_histories_carry_nothing_over_a_wall(name: str, mode: str) -> None:
    watch(KNOWN_HISTORIES[name], mode)


# ── what an attacker learns ──────────────────────────────────────────────────────────────────────────────────────────

TRIED = wrong_words(25, 6)
PINS = [TRIED[0], TRIED[4], TRIED[18], "482913"]  # the last is one that nobody tries


class Stage:
    """A clock that stands still but for what a history does."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def params(self, clock: Clock) -> dict[str, float]:
        self.now += 0.001
        return {"now": round(self.now)}


@dataclass
class Attacked(Life):
    """A history of people who do not know the PIN: {pin} is a word like any other to them."""

    def _fill(self, says: str, text: str) -> str:
        words = {f"w{n}": " ".join(wrong_words(n, 6)) for n in (1, 10, 19, 20, 25)}
        wide = "".join(chr(ord(digit) + 0xFEE0) for digit in TRIED[18])
        return says.format(text=text, pin=TRIED[4], strong="kestrel-and-no-more", wide=wide, **words)

    async def _numbers(self, _: Turn) -> Preparation:
        return Preparation(
            frame=Frame(f"Person {TRIED[4]}", [f"{word}.txt" for word in TRIED]),
            remarks=[Remarks(EARLIER, [(word, f"{word} it is") for word in (*TRIED, "482913")])],
        )


def learnt(history: Sequence[Step]) -> Iterator[tuple[str, int, set[str], set[str], int]]:
    """For each PIN and step: which PINs it rules out, which words were tried in it, and how many of them counted."""
    lives: dict[str, Attacked] = {}
    for pin in PINS:
        folder = Path(tempfile.mkdtemp(prefix="bob-attack-"))
        try:
            with pytest.MonkeyPatch.context() as patch, FakeOpenAI(check=False) as fake:
                patch.setattr(Clock, "params", lambda clock, stage=Stage(): stage.params(clock))  # noqa: B008
                lives[pin] = Attacked(fake, f"sqlite:///{folder / 'bob.db'}", folder, pin)
                asyncio.run(lives[pin].live(history))
        finally:
            shutil.rmtree(folder)
    for pin, life in lives.items():
        consistent = set(PINS)
        for at, seen in enumerate(life.seen):
            ruled_out = {other for other in consistent if lives[other].seen[at] != seen}
            yield pin, at, ruled_out, life.tried[at], life.counted[at]
            consistent -= ruled_out


@pytest.mark.thorough
@given(history=histories)
@settings(slow, max_examples=6)
def test_no_step_rules_out_more_pins_than_words_were_counted_in_it(history: list[Step]) -> None:
    for pin, at, ruled_out, tried, counted in learnt(history):
        assert tried or not ruled_out, (at, ruled_out)
        if pin not in tried:  # else it may be known now, which is the one bit of a right word that was taken
            assert ruled_out <= tried, (at, ruled_out)
            assert len(ruled_out) <= counted, (at, ruled_out)


def test_an_attacker_learns_of_a_word_that_is_counted_and_of_no_other() -> None:
    tries: list[Step] = [Ask(0, 0, "{w10} {text}"), Ask(0, 0, "{text} {w19}"), Ask(1, 0, "{text}", read_back=True)]
    of_untried = [each[2] for each in learnt(tries) if each[0] == "482913"]
    assert of_untried == [{TRIED[0], TRIED[4]}, set(), set()]
