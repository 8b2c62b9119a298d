"""Whatever happens, a public assistant is never told what was said in private, and the password goes nowhere."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from core import AnswerFailed, Chat, Preparation, Question, Remarks, Turn, UnknownAssistant, threads
from core.turns import SYNCED_OUTCOMES
from tests.conftest import new_postgresql_database, opened
from tests.core.fixtures.crash import crashing
from tests.core.fixtures.database import change, rows
from tests.fakes.openai_api import Asked, DropBeforeHeaders, DropMidStream, EndEarly, FakeOpenAI, Fault, Reply, Stall
from tests.fakes.openai_api import Status as Refused
from tests.fakes.openai_model import markers, texts_of

PASSWORD = "739105528461"  # long enough to be nowhere by chance
WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in PASSWORD)
EVES_PASSWORD = "open the garden gate"
WIDE_OF_EVE = EVES_PASSWORD.replace("o", "\uff4f")
SESSION = "web:public:1"
HUSH = "hush"  # in every private question, with the number of the circle that it was asked in
SECRET = "secret"  # in every private answer
PUBLIC, FIRST, SECOND = 0, 1, 2  # whom a question is for: everybody, or a circle of private assistants

ASSISTANTS = """
[[assistant]]
name = "Ann"
model = "model-Ann"
instructions = "You are Ann."

[[assistant]]
name = "Ben"
model = "model-Ben"
instructions = "You are Ben."

[[assistant]]
name = "Pia"
model = "model-Pia"
instructions = "You are Pia."
{pia}

[[assistant]]
name = "Sam"
model = "model-Sam"
instructions = "You are Sam."
private = true
password_from = "PRIVATE_BOB_PASSWORD"

[[assistant]]
name = "Eve"
model = "model-Eve"
instructions = "You are Eve."
private = true
password_from = "EVES_PASSWORD"
"""
PIA_IS = (
    "",
    'private = true\npassword_from = "PRIVATE_BOB_PASSWORD"',
    'private = true\npassword_from = "EVES_PASSWORD"',
)
PASSWORDS = ("", PASSWORD, EVES_PASSWORD)
SPELT_WIDE = ("", WIDE, WIDE_OF_EVE)


# ── histories ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Ask:
    """Somebody asks, and something may go wrong. `crash`: the process dies while the model is at it."""

    circle: int
    fault: Fault | None = None
    cut: bool = False
    crash: Fault | None = None
    said: str = "{password} {text}"


@dataclass(frozen=True)
class Choose:
    """Somebody chooses an assistant for the session."""

    assistant: str


@dataclass(frozen=True)
class Reset:
    """Somebody begins anew."""


@dataclass(frozen=True)
class Restart:
    """The process ends and another begins, perhaps with other assistants."""

    circle_of_pia: int


Step = Ask | Choose | Reset | Restart

LOCKED = Refused(400, "conversation_locked", message="Another process is currently operating on this conversation.")
GONE = Refused(404, message="Conversation with id 'conv_1' not found.")
FAULTS = [
    Refused(500, completes=True), Refused(429, "insufficient_quota"), Refused(400, "invalid_prompt"), LOCKED, GONE,
    DropBeforeHeaders(completes=True), DropMidStream(completes=True), DropMidStream(), EndEarly(),
]  # fmt: skip
SAID = ["{password} {text}", "{text} ({password})", "**{password}** {text}", "{text}\n\n{password}!", "{wide}: {text}"]

asks = st.builds(
    Ask,
    circle=st.sampled_from([PUBLIC, PUBLIC, FIRST, SECOND]),
    fault=st.none() | st.sampled_from(FAULTS),
    cut=st.sampled_from([False, False, False, True]),
    crash=st.sampled_from([None, None, None, None, Stall(), Stall(completes=True), Stall(after_pieces=1)]),
    said=st.sampled_from(SAID),
)
steps = st.one_of(
    asks,
    asks,
    asks,
    st.builds(Choose, st.sampled_from(["Ann", "Ben", "Pia", "Pia", "Sam", "Eve"])),
    st.just(Reset()),
    st.builds(Restart, st.sampled_from([PUBLIC, FIRST, SECOND])),
)
histories = st.lists(steps, min_size=4, max_size=14)


# ── living through one ───────────────────────────────────────────────────────────────────────────────────────────────


class Crash(Exception):
    """The process ends here."""


@dataclass
class Asking:
    """A turn that was accepted, and what its assistant is to know."""

    turn: Turn
    marker: str


@dataclass
class Life:
    """One history, lived: what was said, and what each request was for."""

    fake: FakeOpenAI
    url: str
    folder: Path
    mode: str
    circle_of_pia: int = FIRST
    cut: bool = False
    said: list[tuple[str, int]] = field(default_factory=list)  # answered questions since the last reset, and for whom
    asked: int = 0
    waiting: Asking | None = None
    leaks: list[str] = field(default_factory=list)
    view: list[str] = field(default_factory=list)
    sent: list[tuple[int, int, int]] = field(default_factory=list)  # which requests were for whom

    async def live(self, history: Sequence[Step]) -> None:
        """Go through the whole history, in as many processes as it takes."""
        self.fake.answer = self._answer
        remaining = list(history)
        while remaining or self.waiting:
            file = self.folder / "assistants.toml"
            file.write_text(ASSISTANTS.format(pia=PIA_IS[self.circle_of_pia]))
            try:
                async with opened(
                    self.fake, self.url, openai_threads=self.mode, assistants_file=file, private_bob_password=PASSWORD
                ) as chat:
                    if self.waiting:
                        await self._take_over(chat, self.waiting)
                    while remaining and not isinstance(remaining[0], Restart):
                        await self._do(chat, remaining.pop(0))
                    if remaining:
                        restart = remaining.pop(0)
                        assert isinstance(restart, Restart)
                        self.circle_of_pia = restart.circle_of_pia
                    self._look_for_the_password()
            except* Crash:
                pass
        self._look_for_the_password()
        self._look_at_requests()

    def _circle_of(self, model: str) -> int:
        return {"model-Pia": self.circle_of_pia, "model-Sam": FIRST, "model-Eve": SECOND}.get(model, PUBLIC)

    def _answer(self, asked: Asked) -> Reply:
        self.view = markers(asked.view)
        circle = self._circle_of(asked.model)
        read = "\n".join(text for item in asked.view for text in texts_of(item))
        if any(word in read for word in words_of_others(circle)):
            self.leaks.append(f"{asked.model} read {self.view}")
        text = f"You said {asked.question}" + ("" if circle == PUBLIC else f", which is a {SECRET}{circle}")
        return Reply(text, incomplete="max_output_tokens" if self.cut else "")

    async def _do(self, chat: Chat, step: Step) -> None:
        if isinstance(step, Ask):
            await self._ask(chat, step)
        elif isinstance(step, Choose):
            with contextlib.suppress(UnknownAssistant):
                await chat.choose(SESSION, "web", step.assistant)
        elif await chat.reset(SESSION):
            self.said.clear()

    async def _ask(self, chat: Chat, step: Ask) -> None:
        self.asked += 1
        marker = f"Q{self.asked}-a"
        text = f"{marker} please"
        if step.circle != PUBLIC:
            text = step.said.format(
                password=PASSWORDS[step.circle], wide=SPELT_WIDE[step.circle], text=f"{marker} {HUSH}{step.circle}"
            )
        self.cut = step.cut
        fault = step.crash or step.fault
        scripted = self.fake.fail("POST", "/responses", fault) if fault else None
        before = len(self.fake.requests)
        turn = await chat.accept(Question("web", SESSION, text))
        assert turn is not None
        assert turn.private == (step.circle != PUBLIC)
        self.waiting = Asking(turn, marker)
        if step.crash:
            chat.answering(turn)
            await self.fake.until(lambda fake: any(r.template == "/responses" for r in fake.requests[before:]))
            self._note(before, turn)
            assert scripted is not None
            scripted.cancel()
            raise Crash
        await self._see(chat, self.waiting)
        if scripted:
            scripted.cancel()

    async def _take_over(self, chat: Chat, waiting: Asking) -> None:
        found = asyncio.ensure_future(anext(chat.orphaned("web")))
        await asyncio.sleep(0)
        await chat.heartbeat()
        waiting.turn = await found
        await self._see(chat, waiting)

    async def _see(self, chat: Chat, asking: Asking) -> None:
        """Wait for the answer, and compare what the model was told with what it should have been."""
        before = len(self.fake.requests)
        turn = asking.turn
        finished = None
        with contextlib.suppress(AnswerFailed):
            finished = await chat.answering(turn).whole()
        self.waiting = None
        self._note(before, turn)
        if finished is not None:
            assert finished.outcome in SYNCED_OUTCOMES
            visible = [marker for marker, circle in self.said if circle in (PUBLIC, circle_of(turn))]
            assert self.view == [*visible, asking.marker]
            self.said.append((asking.marker, circle_of(turn)))

    def _note(self, before: int, turn: Turn) -> None:
        self.sent.append((before, len(self.fake.requests), circle_of(turn)))

    def _look_at_requests(self) -> None:
        assert self.leaks == []
        assert self.fake.questions_told_twice() == []
        for start, end, circle in self.sent:
            for request in self.fake.requests[start:end]:
                assert not any(word.encode() in request.body for word in words_of_others(circle))
        for password in EVERY_SPELLING:
            assert password not in self.fake.texts()

    def _look_for_the_password(self) -> None:
        for stored in _stored(self.url):
            assert not any(password.encode() in stored for password in EVERY_SPELLING)


EVERY_SPELLING = (PASSWORD, WIDE, EVES_PASSWORD, WIDE_OF_EVE)


def circle_of(turn: Turn) -> int:
    return (None, "PRIVATE_BOB_PASSWORD", "EVES_PASSWORD").index(turn.circle)


def words_of_others(circle: int) -> list[str]:
    """What only other circles than this one may read; everybody else is outside of all of them."""
    return [f"{word}{other}" for word in (HUSH, SECRET) for other in (FIRST, SECOND) if other != circle]


def _stored(url: str) -> Iterator[bytes]:
    """All that the database holds: the bytes of SQLite's files, or every row of PostgreSQL's tables."""
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        assert file.exists()
        yield from (path.read_bytes() for path in file.parent.glob(f"{file.name}*") if path.is_file())
        return
    with psycopg.connect(url) as server:
        tables = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        assert tables
        for (table,) in tables:
            for (row,) in server.execute(f'SELECT t::text FROM "{table}" t'.encode()):
                yield row.encode()


class _Heard(logging.Handler):
    """Everything that anybody logs, as text."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text.append(self.format(record))


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """What is logged, at every level."""
    root, heard = logging.getLogger(), _Heard()
    level = root.level
    root.addHandler(heard)
    root.setLevel(logging.DEBUG)
    try:
        yield heard.text
    finally:
        root.removeHandler(heard)
        root.setLevel(level)


def live(history: Sequence[Step], mode: str, url: str = "") -> None:
    folder = Path(tempfile.mkdtemp(prefix="bob-privacy-"))
    try:
        with listening() as logged, FakeOpenAI(check=False) as fake:
            asyncio.run(Life(fake, url or f"sqlite:///{folder / 'bob.db'}", folder, mode).live(history))
        assert not any(password in line for line in logged for password in EVERY_SPELLING)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "FIRST_BACKOFF_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def _eves_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVES_PASSWORD", EVES_PASSWORD)


slow = settings(
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", ["conversations", "local"])
@given(history=histories)
@settings(slow, max_examples=12)
def test_no_history_tells_a_public_assistant_what_was_private_or_anybody_the_password(
    mode: str, history: list[Step]
) -> None:
    live(history, mode)


@pytest.mark.thorough
@given(history=histories, mode=st.sampled_from(["conversations", "local"]))
@settings(slow, max_examples=4)
def test_no_history_leaves_the_password_in_postgresql(postgresql: str, mode: str, history: list[Step]) -> None:
    live(history, mode, new_postgresql_database(postgresql))


KNOWN_HISTORIES: dict[str, list[Step]] = {
    "private in between": [Ask(PUBLIC), Ask(FIRST), Ask(PUBLIC), Ask(FIRST), Ask(PUBLIC)],
    "private, and then another assistant": [Ask(FIRST), Choose("Ben"), Ask(PUBLIC), Choose("Ann"), Ask(PUBLIC)],
    "private and broken off": [Ask(FIRST, crash=Stall(completes=True)), Ask(PUBLIC), Ask(FIRST), Ask(PUBLIC)],
    "private and failed": [Ask(FIRST, Refused(400, "invalid_prompt")), Ask(PUBLIC), Ask(FIRST)],
    "private and cut": [Ask(FIRST, cut=True), Ask(PUBLIC), Ask(FIRST)],
    "made public": [Ask(FIRST), Restart(PUBLIC), Choose("Pia"), Ask(PUBLIC), Ask(FIRST)],
    "public, private, public": [
        Restart(PUBLIC), Choose("Pia"), Ask(PUBLIC), Restart(FIRST), Ask(FIRST), Restart(PUBLIC), Ask(PUBLIC),
    ],
    "asked in public, answered when private": [
        Restart(PUBLIC), Choose("Pia"), Ask(PUBLIC, crash=Stall()), Restart(FIRST), Ask(FIRST), Restart(PUBLIC),
        Ask(PUBLIC),
    ],
    "two circles in turns": [
        Ask(FIRST), Ask(SECOND), Ask(PUBLIC), Ask(FIRST), Ask(SECOND), Restart(FIRST), Ask(SECOND), Ask(FIRST),
    ],
    "two circles, broken off": [
        Ask(FIRST, crash=Stall(completes=True)), Ask(SECOND), Ask(SECOND, crash=Stall(after_pieces=1)), Ask(FIRST),
    ],
    "two assistants of a circle": [Ask(FIRST), Restart(PUBLIC), Ask(FIRST), Restart(FIRST), Ask(FIRST), Ask(SECOND)],
    "moved to another circle": [
        Ask(FIRST), Ask(SECOND), Restart(SECOND), Ask(SECOND), Ask(FIRST), Ask(PUBLIC), Restart(FIRST), Ask(FIRST),
    ],
    "reset": [Ask(FIRST), Reset(), Ask(FIRST), Ask(PUBLIC), Reset(), Ask(PUBLIC)],
}  # fmt: skip


@pytest.mark.one_in(2)
@pytest.mark.parametrize("mode", ["conversations", "local"])
@pytest.mark.parametrize("name", KNOWN_HISTORIES)
def test_these_histories_keep_what_is_private(name: str, mode: str) -> None:
    live(KNOWN_HISTORIES[name], mode)


def assistants_with(folder: Path, circle_of_pia: int) -> dict[str, Any]:
    """Settings under which Pia is public or in a circle."""
    file = folder / "assistants.toml"
    file.write_text(ASSISTANTS.format(pia=PIA_IS[circle_of_pia]))
    return {"assistants_file": file, "private_bob_password": PASSWORD}


async def view_of(chat: Chat, views: list[list[str]], text: str) -> list[str]:
    """What an assistant reads that is asked this."""
    turn = await chat.accept(Question("web", SESSION, text))
    assert turn is not None
    await chat.answering(turn).whole()
    return views[-1]


def noting_views(fake: FakeOpenAI) -> list[list[str]]:
    views: list[list[str]] = []

    def answer(asked: Asked) -> str:
        views.append(markers(asked.view))
        return "Well."

    fake.answer = answer
    return views


@pytest.mark.parametrize("mode", ["conversations", "local"])
async def test_what_was_private_before_circles_were_kept_is_told_to_its_own_assistant_alone(
    fake: FakeOpenAI, database_url: str, tmp_path: Path, mode: str
) -> None:
    views = noting_views(fake)
    async with opened(fake, database_url, openai_threads=mode, **assistants_with(tmp_path, PUBLIC)) as chat:
        await view_of(chat, views, "Q1-a")
        await view_of(chat, views, f"{PASSWORD} Q2-a")  # of Sam
        await view_of(chat, views, f"{EVES_PASSWORD} Q3-a")  # of Eve
        change(database_url, "UPDATE turn SET circle = NULL")
        change(database_url, "UPDATE thread SET circle = NULL")
        assert await view_of(chat, views, "Q4-a") == ["Q1-a", "Q4-a"]
        assert await view_of(chat, views, f"{PASSWORD} Q5-a") == ["Q1-a", "Q2-a", "Q4-a", "Q5-a"]
        assert await view_of(chat, views, f"{EVES_PASSWORD} Q6-a") == ["Q1-a", "Q3-a", "Q4-a", "Q6-a"]
    async with opened(fake, database_url, openai_threads=mode, **assistants_with(tmp_path, FIRST)) as chat:
        assert await view_of(chat, views, f"{PASSWORD} Q7-a") == ["Q1-a", "Q4-a", "Q5-a", "Q7-a"]  # of Pia
    async with opened(fake, database_url, openai_threads=mode, **assistants_with(tmp_path, PUBLIC)) as chat:
        everything = ["Q1-a", "Q2-a", "Q4-a", "Q5-a", "Q7-a", "Q8-a"]
        assert await view_of(chat, views, f"{PASSWORD} Q8-a") == everything  # of Sam


async def test_who_moved_to_another_circle_goes_on_with_no_thread_of_the_old_one(
    fake: FakeOpenAI, database_url: str, tmp_path: Path
) -> None:
    views = noting_views(fake)
    async with opened(fake, database_url, **assistants_with(tmp_path, FIRST)) as chat:
        await view_of(chat, views, f"{PASSWORD} Q1-a")
        (old,) = rows(database_url, "SELECT conversation_id AS id, circle FROM thread WHERE assistant = 'Pia'")
        assert old["circle"] == "PRIVATE_BOB_PASSWORD"
    async with opened(fake, database_url, **assistants_with(tmp_path, SECOND)) as chat:
        assert await view_of(chat, views, f"{EVES_PASSWORD} Q2-a") == ["Q2-a"]
        (new,) = rows(database_url, "SELECT conversation_id AS id, circle FROM thread WHERE assistant = 'Pia'")
        assert new["circle"] == "EVES_PASSWORD"
        assert new["id"] != old["id"]


@pytest.mark.parametrize(
    ("text", "before", "after", "knows_its_circle"),
    [
        (f"{PASSWORD} Q1-a", FIRST, SECOND, True),
        (f"{PASSWORD} Q1-a", FIRST, PUBLIC, True),
        (f"{PASSWORD} Q1-a", FIRST, PUBLIC, False),
        ("Q1-a", PUBLIC, FIRST, True),
        ("Q1-a", PUBLIC, SECOND, True),
    ],
    ids=["another circle", "made public", "from before circles", "made private", "made private elsewhere"],
)
async def test_an_open_question_is_not_answered_by_an_assistant_that_moved_meanwhile(
    fake: FakeOpenAI, database_url: str, tmp_path: Path, text: str, before: int, after: int, knows_its_circle: bool
) -> None:
    async with crashing(fake, database_url, **assistants_with(tmp_path, before)) as chat:
        if before == PUBLIC:
            await chat.choose(SESSION, "web", "Pia")
        turn = await chat.accept(Question("web", SESSION, text))
        assert turn is not None
        assert turn.assistant == "Pia"
        if not knows_its_circle:
            change(database_url, "UPDATE turn SET circle = NULL")
    async with opened(fake, database_url, **assistants_with(tmp_path, after)) as chat:
        found = asyncio.ensure_future(anext(chat.orphaned("web")))
        await asyncio.sleep(0)
        await chat.heartbeat()
        with pytest.raises(AnswerFailed, match="not here any more"):
            await chat.answering(await found).whole()
    assert [request for request in fake.requests if request.template == "/responses"] == []
    assert "Q1-a" not in fake.texts()


async def test_a_public_and_a_private_question_at_once_are_kept_apart(fake: FakeOpenAI, sqlite_url: str) -> None:
    read: list[tuple[str, list[str]]] = []

    def answer(asked: Asked) -> str:
        read.append((asked.model, markers(asked.view)))
        return "Well."

    fake.answer = answer
    async with opened(fake, sqlite_url, private_bob_password=PASSWORD) as chat:
        turns = []
        for number in range(12):
            text = f"{PASSWORD} Q{number}-private" if number % 2 else f"Q{number}-public"
            turns.append(await chat.accept(Question("web", SESSION, text)))
        await asyncio.gather(*(chat.answering(turn).whole() for turn in turns if turn))
    models = {model for model, _ in read}
    assert len(models) == 2
    public = [told for model, told in read if model == read[0][0]]
    assert not any("private" in marker for told in public for marker in told)
    assert len(read[-1][1]) == 12


async def test_what_is_prepared_passes_the_same_filter(fake: FakeOpenAI, sqlite_url: str) -> None:
    async def prepare(turn: Turn) -> Preparation:
        return Preparation(remarks=[Remarks("Earlier", [("Ann", f"Earlier somebody wrote: {PASSWORD} open up")])])

    with listening() as logged:
        async with opened(fake, sqlite_url, private_bob_password=PASSWORD) as chat:
            turn = await chat.accept(Question("web", SESSION, "Q1-a"))
            assert turn is not None
            await chat.answering(turn, prepare=prepare).whole()
            assert not any(PASSWORD.encode() in stored for stored in _stored(sqlite_url))
    assert "open up" in fake.texts()
    assert PASSWORD not in fake.texts()
    assert not any(PASSWORD in line for line in logged)


def test_the_search_for_the_password_would_find_it(tmp_path: Path) -> None:
    url: Any = f"sqlite:///{tmp_path / 'bob.db'}"
    with contextlib.closing(sqlite3.connect(tmp_path / "bob.db")) as database:
        database.execute("CREATE TABLE turn (question TEXT)")
        database.execute("INSERT INTO turn VALUES (?)", (f"{PASSWORD} hello",))
        database.commit()
    assert any(PASSWORD.encode() in stored for stored in _stored(url))
    with listening() as logged:
        logging.getLogger("anybody").debug("%s", PASSWORD)
    assert any(PASSWORD in line for line in logged)
