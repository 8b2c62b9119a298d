"""One simulated world: platforms, instances of Bob on one database, and what may befall them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import random
import re
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bots import SURFACES
from bots.shared.surface import LoadedSurface
from core import Settings, StartError, StoreUnavailable
from core.assistants import BUILT_IN
from tests.acceptance.chaos.answers import DEADLY_WORD, QUESTION, Model
from tests.acceptance.chaos.judging import RESUMED_TOO_EARLY
from tests.conftest import PASSWORD
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import Asked, Reply
from tests.fakes.openai_model import user_texts
from tests.fakes.slack_api import FakeSlack
from tests.simulated import store
from tests.simulated.determinism import LEASE_SEEN_AT
from tests.simulated.files import WISH, told_of_a_file, what_is_wrong, with_a_file
from tests.simulated.loop import HOST, Host, SimulatedLoop
from tests.simulated.network import Network
from tests.simulated.trouble import Lease, Troubles, WatchedOpenAI
from web import cli

KEY = "sk-test"
CIRCLE, EVES_CIRCLE = "PRIVATE_BOB_PASSWORD", "EVES_PASSWORD"
PASSWORDS = {CIRCLE: PASSWORD, EVES_CIRCLE: "417263"}
EVE = f"""
[[assistant]]
name = "Eve"
model = "gpt-6-luna"
instructions = "Be Eve."
private = true
password_from = "{EVES_CIRCLE}"
"""
KEY_OF_PEOPLE = "key-of-the-people-on-the-web"
KILLS_BETWEEN_BURIALS = 20
STEP_TAKEN_BACK = "0015"  # of the schema: the last one, in which an upgrade differs from what was before
MEAN_SECONDS_TO_RESTART = 0.3
MOST_DEATHS_OF_POISON = 12  # two beside others, and five that count in full, and what luck adds
SECONDS_ON_THE_WAY = 0.02
SECONDS_TO_BE_CANCELLED = 5.0
CHATS = ("slack", "discord")
PLATFORMS = ("openai", *CHATS)
EMPTY_AT_REST: Mapping[str, Sequence[str]] = {
    "Chat": ("_accepting", "_hurries"),
    "Answering": ("in_hand",),
    "Bounds": ("_impatient", "_asking_for", "_preparing"),
    "Following": ("_followed", "_behind_others", "_copying"),
    "SessionQueue": ("_here", "_wakeups"),
    "Responder": ("_responding",),
}
LIST = b'"object":"list"'
LEASE_IS_LOST, TURN_IS_CHANGED = "the lease of turn %s is lost", "turn %s %s"
_WRITES = re.compile(r'^"([^"\n]*)" writes:\n((?:> .*(?:\n|\Z))*)', re.MULTILINE)
_SHOWN = re.compile(rb"To (Q\d+-[kd]\d+)[^ ]* \(answer ")
CHANNELS = [f"C{100 + number}" for number in range(20)]
RETRIES = (0.1, 0.5, 1.0, *[2.0] * 100)  # of Slack's deliveries


def _mark_in(text: str) -> str:
    found = QUESTION.findall(text)
    return str(found[-1]) if found else ""


def _place(coroutine: Any) -> str:
    """Where a coroutine stands, from the outside in."""
    places = []
    while (frame := getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)) is not None:
        places.append(f"{frame.f_code.co_qualname}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return " > ".join(places)


def task_of(host: Host, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Have a host do something."""
    context = contextvars.copy_context()
    context.run(HOST.set, host)
    return context.run(asyncio.get_running_loop().create_task, work)


class SlowerModel(Model):
    """The storms' model, whose answers take as long as it likes: here that costs nothing."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        super().__init__(seed, slow=rng.choice((0.12, 0.3, 0.6)))
        self._slowness = rng.choice((1, 2, 8))
        self.asked_at: dict[int, float] = {}
        """When it was asked for which answer."""
        self.sent: dict[str, str] = {}
        """The names of files, by the questions with which they were sent."""
        self.said_by: dict[str, str] = {}
        """By whom something was said, as a model has to be told it."""
        self.remarks: list[str] = []
        self._is_for_a_file = False

    def __call__(self, asked: Asked) -> Reply:
        self._is_for_a_file = WISH in asked.question
        reply = super().__call__(asked)
        if self.sent:
            known = [question for text in asked.questions for question in QUESTION.findall(text)]
            self.remarks += what_is_wrong(asked, known, self.sent)
        for text in user_texts(asked.view):
            self.remarks += self._said_by_others(text)
        self.asked_at[self.asked.total()] = time.monotonic()
        return reply

    def _said_by_others(self, text: str) -> Iterator[str]:
        """What is told under the name of somebody who did not say it."""
        for name, said in _WRITES.findall(text):
            for mark in QUESTION.findall(said):
                if self.said_by.get(mark, name).casefold() != name.casefold():
                    yield f"{mark} of {self.said_by[mark]} is told as what {name} said"

    def _hesitating(self, text: str, longest: float, pieces: int) -> Reply:
        text = with_a_file(text) if self._is_for_a_file else text
        return super()._hesitating(text, longest * self._slowness, pieces)


@dataclass(eq=False)
class Instance:
    """A place where one process of Bob after the other runs."""

    name: str
    settings: Settings
    surfaces: Sequence[LoadedSurface]
    host: Host | None = None
    task: asyncio.Task[Any] | None = None
    starts: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.settings.port}"

    @property
    def is_running(self) -> bool:
        return self.host is not None and self.host.is_alive


class World:
    """Everything there is in a run."""

    def __init__(
        self,
        loop: SimulatedLoop,
        seed: int,
        folder: Path,
        *,
        instances: int,
        surfaces: Collection[str],
        join_seconds: float = 0.0,
    ) -> None:
        self.loop = loop
        self.network = Network(loop)
        self.model = SlowerModel(seed)
        self.openai = WatchedOpenAI(check=False, journal=False)
        self.openai.answer = self.model
        self.troubles = self.openai.troubles = Troubles(self.lease_of, loop.time)
        self.slack = FakeSlack()
        self.slack.retry_delays = RETRIES
        for channel in CHANNELS:
            self.slack.add_channel(channel)
        self.discord = FakeDiscord(check=False)
        self.discord.session_starts = 10**9
        self.remarks: list[str] = []
        self.kills = 0
        self.was_upgraded = False
        self.deaths: Counter[str] = Counter()
        """In how many dying processes a question was in work."""
        self.deaths_of_poison = 0
        self.clock_error = 0.0
        self._is_ending = False
        self._supervisor = Host("supervisor")
        self._turn_ids: dict[str, str] = {}
        self.network.watch = self._watch
        self.network.kills = self._kills
        self._reader: sqlite3.Connection | None = None
        self._folder = folder
        self._assistants = folder / "assistants.toml"
        self._assistants.write_text(BUILT_IN.read_text(encoding="utf-8") + EVE, encoding="utf-8")
        os.environ[EVES_CIRCLE] = PASSWORDS[EVES_CIRCLE]
        self._platforms: list[asyncio.Task[Any]] = []
        self.instances: list[Instance] = []
        self._number_of_instances = instances
        self._served = surfaces
        self._join_seconds = join_seconds
        loop.set_exception_handler(self._note_exception)

    # ── platforms ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def begin(self) -> None:
        """Let the platforms serve, and start all instances."""
        serving = {
            "openai": self.openai._serve(0, threading.Event()),
            "slack": self.slack._server._serve(0, threading.Event()),
            "discord": self.discord._server._serve(threading.Event()),
        }
        self._platforms += [task_of(Host(name), serve) for name, serve in serving.items()]
        await asyncio.sleep(1.0)
        for number in range(self._number_of_instances):
            self.instances.append(Instance(f"bob{number}", self._settings(), self._surfaces()))
            self.start(self.instances[-1])

    async def end(self) -> None:
        """Have all instances end by themselves, and the platforms after them."""
        self._is_ending = True
        for each in self.instances:
            self.terminate(each)
        for each in self.instances:
            if each.task is not None:
                await asyncio.wait({each.task}, timeout=60)
                if not each.task.done():
                    self.remarks.append(f"{each.name} does not end: {self.where_it_stands(each)}")
        self.openai._stopping.set()
        self.slack._server._halt()
        self.discord._server._halt()
        await asyncio.wait(self._platforms, timeout=10)

    def _settings(self) -> Settings:
        values: dict[str, Any] = {
            "openai_api_key": KEY, "openai_base_url": self.openai.base_url, "openai_threads": "conversations",
            "openai_api": "responses", "database_url": f"sqlite:///{self._folder / 'bob.db'}",
            "api_keys": f"people:{KEY_OF_PEOPLE}", "port": self.network.free_port(), "_env_file": None,
            "assistants_file": self._assistants,
        }  # fmt: skip
        return Settings(**values)

    def _surfaces(self) -> list[LoadedSurface]:
        values: dict[str, Any] = {
            "slack_bot_token": self.slack.bot_token, "slack_app_token": self.slack.app_token,
            "slack_api_url": self.slack.url, "discord_token": self.discord.token, "discord_api_url": self.discord.url,
            "slack_join_seconds": self._join_seconds, "discord_join_seconds": self._join_seconds,
        }  # fmt: skip
        chosen = [each for each in SURFACES if each.name in self._served]
        return [LoadedSurface(each, each.settings(_env_file=None, **values)) for each in chosen]

    # ── what befalls instances ───────────────────────────────────────────────────────────────────────────────────────

    def start(self, instance: Instance) -> None:
        """Start its next process, in the way `bob run` does."""
        instance.starts += 1
        host = instance.host = Host(instance.name)
        host.clock_error = self.clock_error
        host.was_disturbed = store.Trouble() != store.TROUBLE  # which began before it
        self.loop.trace(f"{instance.name} starts")
        instance.task = task_of(host, self._live(instance, host))

    async def _live(self, instance: Instance, host: Host) -> None:
        try:
            await cli._serve(instance.settings, instance.surfaces)
            self.loop.trace("has ended")
            await self._cancel_what_is_left(host)
        except Exception as error:
            if not host.is_alive:  # what is left of it is thrown away
                raise
            is_for_want_of_a_store = isinstance(error, StoreUnavailable | StartError)
            if not is_for_want_of_a_store or host.signals:  # without a store it does not even begin
                self.remarks.append(f"{instance.name} ended by {error!r}")
        self._is_gone(host)
        self._start_again(instance)

    def _start_again(self, instance: Instance) -> None:
        """Start the next process after a while, as a supervisor does."""
        if not self._is_ending:
            seconds = self.loop.latency(MEAN_SECONDS_TO_RESTART)
            context = contextvars.copy_context()
            context.run(HOST.set, self._supervisor)
            self.loop.call_later(seconds, self._start_if_needed, instance, context=context)

    def _start_if_needed(self, instance: Instance) -> None:
        if not instance.is_running and not self._is_ending:
            self.start(instance)

    def kill(self, instance: Instance, *, silently: bool = False) -> None:
        """End its process as kill -9 does; `silently`, as the loss of its host does."""
        host = instance.host
        if host is None or not host.is_alive:
            return
        self.loop.trace(f"{instance.name} is killed")
        self.kills += 1
        self.deaths.update(self.in_work(host))
        self.look_for_passwords()
        self.loop.kill(host)
        self.network.lose_host(host, silently=silently)
        self._start_again(instance)
        if self.kills % KILLS_BETWEEN_BURIALS == 0:
            self.loop.call_soon(self.loop.bury)

    def _watch(self, sender: Host, receiver: Host, data: bytes) -> None:
        """See whether what is sent shows an answer whose lease another process has, or tells a password."""
        if receiver.name == "openai" and any(each.encode() in data for each in PASSWORDS.values()):
            self.remarks.append(f"{sender.name} tells the model a password")
        if receiver.name in CHATS and (found := _SHOWN.search(data)):
            self._check_lease(sender, found[1].decode())

    def _kills(self, host: Host, data: bytes) -> bool:
        """Kill a process that reads the deadly word in an answer, and not in the list of what it is about to erase."""
        if DEADLY_WORD.encode() not in data or LIST in data:
            return False
        for each in self.instances:
            if each.host is host:
                self.deaths_of_poison += 1
                self.kill(each)
        if self.deaths_of_poison > MOST_DEATHS_OF_POISON:
            self.remarks.append(f"{self.model.poisonous} kills for the {self.deaths_of_poison}th time")
            self.model.poisonous = None
        return not host.is_alive

    def left_at_the_provider(self) -> list[str]:
        """What nobody will erase there any more."""
        known = {conversation for (conversation,) in self.ledger("SELECT conversation_id FROM thread")}
        known |= {conversation for (conversation,) in self.ledger("SELECT conversation_id FROM erasure")}
        left = [each for each in self.openai.conversations.values() if each.id not in known and each.items]
        return [f"conversation {each.id} is left at the provider, with {len(each.items)} items" for each in left]

    def _check_lease(self, sender: Host, mark: str) -> None:
        was_about_to = abs(sender.paused_at - LEASE_SEEN_AT.get()) < SECONDS_ON_THE_WAY
        if was_about_to and self.loop.time() - sender.resumed_at < SECONDS_ON_THE_WAY:
            return  # it was stopped between its look at the lease and this
        if mark not in self._turn_ids:
            for turn_id, *_ in self.turns_of(mark):
                self._turn_ids[mark] = turn_id
        for (lease_owner,) in self.ledger("SELECT lease_owner FROM turn WHERE id = ?", self._turn_ids.get(mark)):
            owner = store.LEASE_OWNERS.get(lease_owner)
            if owner is not None and owner is not sender:
                self.remarks.append(f"{mark} is shown by {sender.name} at {self.loop.time():.6f}, whose lease is lost")

    def failed_by(self, mark: str) -> set[str]:
        """Under whose leases it was stored that there will be no answer to a question."""
        return {store.FAILED_BY[turn_id] for turn_id, *_ in self.turns_of(mark) if turn_id in store.FAILED_BY}

    def lease_of(self, mark: str) -> Lease | None:
        """Under which lease a question is asked now."""
        open_turns = [each for each in self.turns_of(mark) if each[2] is not None and each[3] is None]
        return Lease(mark, open_turns[-1][:2], str(open_turns[-1][2])) if open_turns else None

    def turns_of(self, mark: str) -> list[tuple[str, int, str | None, float | None]]:
        """The turns of a question: their ids, fencing tokens, lease owners, and when they were closed."""
        columns = "id, fencing_token, lease_owner, closed_at, question"
        found = self.ledger(f"SELECT {columns} FROM turn WHERE question LIKE ? ORDER BY accepted_at", f"%{mark}%")
        return [(*values[:4],) for values in found if mark in QUESTION.findall(values[4])]

    def lines_with(self, mark: str) -> set[str]:
        """The marks of what is stored as lines of one question with this one."""
        found = self.ledger("SELECT question FROM turn WHERE question LIKE ?", f"%{mark}%")
        return {each for marks in (QUESTION.findall(text) for (text,) in found) if mark in marks for each in marks}

    def keeps_file_of(self, mark: str) -> bool:
        """Whether the text of a file that came with a question is stored."""
        return bool(self.ledger("SELECT id FROM attachment WHERE text LIKE ?", f"%{told_of_a_file(mark)}%"))

    def turn_back_the_schema(self) -> None:
        """Have the database be as the step before would have left it. Nobody may have it open."""
        self.ledger("SELECT 1")
        assert self._reader is not None
        with contextlib.suppress(sqlite3.OperationalError):  # where that is how it is, or there is none yet
            self._reader.execute("ALTER TABLE chat_session DROP COLUMN place")
            for index in ("turn_kept_closed_at", "turn_context_yet", "joined_event_turn_id"):
                self._reader.execute(f"DROP INDEX ix_{index}")
            self._reader.execute("DROP TABLE forget_request")
            self._reader.execute("DROP TABLE takedown")
            self._reader.execute("UPDATE alembic_version SET version_num = '0014'")
        self.loop.trace("the schema is that of the step before")

    def look_for_passwords(self) -> None:
        """Note where a password stands in the database, or stood there once."""
        for file in filter(Path.is_file, sorted(self._folder.glob("bob.db*"))):
            if any(each.encode() in file.read_bytes() for each in PASSWORDS.values()):
                self.remarks.append(f"there is a password in {file.name}")

    def set_clock(self, error: float) -> None:
        """Have the clock on the wall of Bob's hosts be wrong."""
        self.clock_error = error
        for each in self.instances:
            if each.host is not None:
                each.host.clock_error = error

    def in_work(self, host: Host) -> list[str]:
        """The questions that a process is at work on."""
        try:
            found = self.ledger(
                "SELECT question, lease_owner FROM turn WHERE closed_at IS NULL AND lease_owner IS NOT NULL "
                "AND (working_token = fencing_token OR outcome IS NOT NULL OR working_token IS NULL)"
            )
        except sqlite3.OperationalError:  # nobody has migrated it yet, so nobody is at work
            return []
        return [_mark_in(question) for question, owner in found if store.LEASE_OWNERS.get(owner) is host]

    def ledger(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """What stands in the database, read from outside of Bob."""
        if self._reader is None:
            self._reader = sqlite3.connect(self._folder / "bob.db", isolation_level=None)
        return self._reader.execute(statement, values).fetchall()

    def terminate(self, instance: Instance) -> None:
        """Tell its process to end, as SIGTERM does."""
        if instance.host is not None and instance.host.is_alive:
            self.loop.trace(f"{instance.name} is told to end")
            instance.host.was_disturbed = True
            if tell := instance.host.signals.get(signal.SIGTERM):
                tell()
            else:
                self.kill(instance)  # it does not listen yet

    def what_is_left_at_rest(self) -> list[str]:
        """What instances still have in memory of turns, though all of them are closed."""
        return [
            f"{each.name} still has {len(getattr(kept, name))} in {type(kept).__name__}.{name}"
            for each in self.instances
            for kept in (each.host.has if each.host is not None else ())
            for name in EMPTY_AT_REST[type(kept).__name__]
            if len(getattr(kept, name))
        ]

    async def _cancel_what_is_left(self, host: Host) -> None:
        """Cancel all tasks, as `asyncio.run` does before it ends. They have to be over soon then."""
        left = {each for each in self._tasks_of(host) if each is not asyncio.current_task()}
        for each in sorted(left, key=hash):
            each.cancel()
        if left and (pending := (await asyncio.wait(left, timeout=SECONDS_TO_BE_CANCELLED))[1]):
            self.remarks.append(
                f"{host.name} has tasks that do not end: {[_place(each.get_coro()) for each in pending]}"
            )

    def _tasks_of(self, host: Host | None) -> list[asyncio.Task[Any]]:
        return [each for each in asyncio.all_tasks() if getattr(each, "host", None) is host]

    def where_it_stands(self, instance: Instance) -> str:
        """What each task of a process waits for."""
        tasks = self._tasks_of(instance.host)
        return "; ".join(sorted(_place(task.get_coro()) for task in tasks))

    def _is_gone(self, host: Host) -> None:
        """A process has ended by itself: what it left open is closed by the kernel."""
        self.network.lose_host(host)
        host.at_death.clear()
        host.is_alive = False

    @property
    def violations(self) -> list[str]:
        """What no correct app does, and what went wrong in the platforms themselves."""
        platforms = self.openai, self.slack, self.discord
        told = [text for each in platforms for text in each.violations if text != RESUMED_TOO_EARLY]
        return told + [f"a fake crashed: {error!r}" for each in platforms for error in each.crashes]

    def _note_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not HOST.get().is_alive:
            return
        self.remarks.append(f"{HOST.get().name}: {context['message']} {error!r}")
        if error is not None:
            logging.getLogger("tests.simulated").error("uncaught", exc_info=error)


class TraceOfLogs(logging.Handler):
    """Writes what processes log into the trace, and notes what they have no explanation for."""

    def __init__(self, world: World) -> None:
        super().__init__(logging.INFO)
        self._world = world
        self._let_go: set[object] = set()
        """What was released since it was changed."""
        self._lost: dict[object, tuple[float, str]] = {}
        """When a lease was lost for no reason that was known then, and what was remarked."""

    def emit(self, record: logging.LogRecord) -> None:
        if not HOST.get().is_alive:
            return
        if self._world.loop.is_traced:
            self._world.loop.trace(f"{record.levelname} {record.getMessage()}")
        if any(each in record.getMessage() for each in PASSWORDS.values()):
            self._world.remarks.append(f"{HOST.get().name} logs a password")
        about = record.args if isinstance(record.args, tuple) else ()
        if record.msg == TURN_IS_CHANGED and about[1] in ("amended", "unread", "withdrawn", "shortened", "forgotten"):
            self._let_go.add(about[0])
            self._explain(about[0])
        is_known = HOST.get().was_disturbed or not self._let_go.isdisjoint(about[:1])
        if record.msg == LEASE_IS_LOST and not is_known:
            now = self._world.loop.time()
            self._lost[about[0]] = now, f"{HOST.get().name} lost a lease at {now:.6f} for no reason"
            self._world.remarks.append(self._lost[about[0]][1])
        is_cut_off = record.exc_info and record.exc_info[0] is asyncio.CancelledError  # as it ends; it is not printed
        if HOST.get().name in PLATFORMS and record.exc_info and isinstance(record.exc_info[1], ConnectionError):
            return  # of a request whose sender died while it was read
        if (record.exc_info and not is_cut_off) or record.levelno >= logging.CRITICAL:
            self._world.remarks.append(f"{HOST.get().name} logs {record.getMessage()} {record.exc_info}")

    def _explain(self, turn: object) -> None:
        """Who changed a turn may hear that it is done after the process whose lease that took."""
        lost_at, remark = self._lost.pop(turn, (0.0, ""))
        if remark and self._world.loop.time() - lost_at < SECONDS_ON_THE_WAY:
            self._world.remarks.remove(remark)
