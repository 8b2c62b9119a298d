"""The command line: `bob run`, `bob chat`, `bob password`, `bob keys`, `bob backup`, `bob restore`, `bob forget`,
`bob export`, `bob compact`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar
from urllib.parse import urlsplit

import click
import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from bots import SURFACES
from bots.shared.surface import LoadedSurface, all_secrets, configured, load_surfaces
from core import (
    ApiKeys,
    Chat,
    DataRequests,
    ForgetRequest,
    Forgotten,
    Settings,
    SettingsError,
    StartError,
    back_up,
    calm_garbage_collector,
    compact,
    configure_logging,
    describe_database,
    generated_password,
    is_loopback,
    load_settings,
    open_api_keys,
    open_chat,
    open_data_requests,
    restore_from,
    start_warnings,
)
from web.app import create_app
from web.data_reports import report_of, what_was_forgotten, write_person
from web.ending import SECONDS_FOR_SLOW_CLIENTS
from web.heads import BoundedHead
from web.terminal import converse

T = TypeVar("T")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="threaded-assistant")
def main() -> None:
    """Bob: one assistant on Slack, Discord and your website."""


@main.command()
def run() -> None:
    """Serve every surface that is configured, until a signal ends it."""
    settings, surfaces = _loaded()
    with _plain_errors(), asyncio.Runner(loop_factory=auto_loop_factory()) as runner:  # uvloop, where there is one
        runner.run(_serve(settings, surfaces))


@main.command()
@click.option("--session", default="default", show_default=True, help="Which conversation to go on with.")
@click.option(
    "--file", "files", multiple=True, type=click.File("rb"), help="A file for the first question; may be repeated."
)
def chat(session: str, files: tuple[BinaryIO, ...]) -> None:
    """Talk to the assistants here in the terminal."""
    if not session.isprintable():
        raise click.BadParameter("it has to be one line of text.", param_hint="--session")
    settings = _settings(log_level="warning")
    with _plain_errors(), contextlib.suppress(KeyboardInterrupt):
        for line in start_warnings(settings, serving=False):
            click.echo(f"! {line}", err=True)
        try:
            all_read = asyncio.run(converse(settings, session, files))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else what is left is tried once more at the exit
            raise click.ClickException(f"Nothing more can be written: {error.strerror}.") from error
        if not all_read:
            sys.exit(1)


@main.command()
def password() -> None:
    """Make a password that nobody can guess, for PRIVATE_BOB_PASSWORD or another circle's variable, and print it."""
    click.echo(generated_password())


@main.group()
def keys() -> None:
    """Who may use the web API. Once a key was made it takes requests with a key only."""


@keys.command("new")
@click.argument("name")
@click.option("--origin", "origins", multiple=True, help="Make a publishable key, for web pages of this origin.")
@click.option(
    "--private/--no-private",
    default=None,
    help="Whether passwords open private assistants to it. By default to a secret key only, not to a publishable one.",
)
@click.option(
    "--feedback-to", metavar="NAME", help="The secret key that reads what is thought of answers under this one."
)
def new_key(name: str, origins: tuple[str, ...], private: bool | None, feedback_to: str | None) -> None:
    """Make a key of this NAME, and print it: it is shown this once.

    Sessions belong to the name: a key that takes the place of a revoked one goes on with them.
    """

    async def make(api_keys: ApiKeys) -> str:
        allowed = not origins if private is None else private
        secret, _ = await api_keys.make(name, private=allowed, origins=origins, feedback_to=feedback_to)
        return secret

    click.echo(_with_keys(make))


@keys.command("list")
def list_keys() -> None:
    """Show the keys there are and were, but not what they are."""
    for key in _with_keys(lambda api_keys: api_keys.all()):
        since = "in API_KEYS" if key.created_at is None else f"made {_day(key.created_at)}"
        until = "" if key.revoked_at is None else f", revoked {_day(key.revoked_at)}"
        kind = f"publishable on {' '.join(key.origins)}" if key.publishable else "secret"
        feedback = f", feedback to {key.feedback_to}" if key.feedback_to else ""
        private = "private" if key.private else "not private"
        click.echo(f"{key.id}  {key.name:20} {kind}, {private}{feedback}; {since}{until}")


@keys.command("revoke")
@click.argument("which", metavar="NAME|ID")
def revoke_key(which: str) -> None:
    """Take a key no more, from two seconds on, in all processes. Its sessions stay."""
    revoked = _with_keys(lambda api_keys: api_keys.revoke(which))
    if not revoked:
        raise click.ClickException("There is no such key to revoke. Those of API_KEYS are revoked there.")
    for key in revoked:
        click.echo(f"Revoked {key.id} {key.name}.")


def _with_keys(work: Callable[[ApiKeys], Awaitable[T]]) -> T:
    settings = _settings(log_level="warning")

    async def with_keys() -> T:
        async with open_api_keys(settings) as api_keys:
            return await work(api_keys)

    with _plain_errors():
        return asyncio.run(with_keys())


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def backup(file: Path) -> None:
    """Copy the whole database, also while it is in use, into FILE, and check the copy."""
    settings = _settings()
    with _plain_errors(sentence="Nothing was backed up."):
        copied = back_up(settings.database_url.get_secret_value(), file)
    click.echo(f"{file} holds {copied.turns:,} turns of {copied.sessions:,} sessions.")


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Copy a backup from FILE into the empty database at DATABASE_URL, of either kind."""
    settings = _settings()
    with _plain_errors(sentence="Nothing was restored."):
        copied = restore_from(settings.database_url.get_secret_value(), file)
    click.echo(f"Restored {copied.turns:,} turns of {copied.sessions:,} sessions.")


@main.command()
@click.option("--person", metavar="PERSON", help="As their surface knows them: slack:T1:U7, discord:123, …")
@click.option("--session", metavar="NAME", help="A whole conversation: slack:T1:C1:1712.0001, web:public:12345, …")
@click.option("--before", metavar="DATE", help="What was answered before this day (2026-11-30), in UTC.")
@click.option("--place", default="", help="With --before: in this surface or place alone (slack, slack:T1:C1, …).")
@click.option("--also-posted", is_flag=True, help="Delete Bob's messages on Slack and Discord, too.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and erase nothing.")
@click.option("--yes", is_flag=True, help="Do not ask once more.")
def forget(
    person: str | None, session: str | None, before: str | None, place: str, also_posted: bool, dry_run: bool, yes: bool
) -> None:
    """Erase what is kept of a person, of a conversation, or what is old, and report what was, and what waits."""
    request = _forget_request(person, session, before, place, also_posted=also_posted)

    async def count(requests: DataRequests) -> Forgotten | None:
        return await requests.what_would_go(request)

    async def erase(requests: DataRequests) -> tuple[Forgotten | None, int]:
        return await requests.forget(request), await requests.conversations_waiting()

    found = _with_data_requests(count)
    if found is None:
        raise click.ClickException("There is no such conversation.")
    click.echo(f"This is kept: {what_was_forgotten(found)}.")
    if dry_run:
        click.echo("Nothing was erased.")
        return
    if not yes:
        click.confirm("Erase it? It cannot be undone.", abort=True)
    forgotten, waiting = _with_data_requests(erase)
    if forgotten is None:  # somebody else was faster
        raise click.ClickException("There is no such conversation any more.")
    is_sqlite = _settings(log_level="warning").database_url.get_secret_value().startswith("sqlite")
    for line in report_of(forgotten, waiting, is_sqlite=is_sqlite):
        click.echo(line)


@main.command()
@click.option("--person", required=True, metavar="PERSON", help="As their surface knows them: slack:T1:U7, …")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def export(person: str, file: Path | None) -> None:
    """Write all that is kept of a person into a new FILE that only you read, or to standard output, as JSON."""

    with contextlib.ExitStack() as stack:
        out: TextIO = sys.stdout
        with _plain_errors(sentence="Nothing was exported."):
            if file is not None:  # nobody else's file is written over, and nobody else reads it
                out = stack.enter_context(open(file, "x", encoding="utf-8", opener=_for_oneself))
        count = _with_data_requests(lambda requests: write_person(requests, person, out))
    click.echo(f"{count:,} things are kept of {person}.", err=True)


def _for_oneself(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@main.command("compact")
@click.option("--full", is_flag=True, help="On PostgreSQL: write the tables anew. Nobody reads or writes meanwhile.")
def compact_database(full: bool) -> None:
    """Give back the room of what was erased, and overwrite whatever the database still has of it."""
    settings = _settings()
    with _plain_errors(sentence="Nothing was compacted."):
        done = compact(settings.database_url.get_secret_value(), full=full)
    click.echo(f"{done.how}: {done.before:,} bytes are {done.after:,} now.")


def _forget_request(
    person: str | None, session: str | None, before: str | None, place: str, *, also_posted: bool
) -> ForgetRequest:
    if [person, session, before].count(None) != 2:
        raise click.UsageError("Say one of --person, --session, --before.")
    if place and before is None:
        raise click.UsageError("--place goes with --before.")
    if person is not None:
        if ":" not in person.strip(":"):
            raise click.BadParameter("it is like slack:T1:U7 or discord:123.", param_hint="--person")
        return ForgetRequest("person", person, also_posted=also_posted)
    if session is not None:
        return ForgetRequest("session", session, also_posted=also_posted)
    try:
        day = datetime.strptime(before or "", "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise click.BadParameter("it is a day, like 2026-11-30.", param_hint="--before") from None
    return ForgetRequest("before", place, before=day.timestamp(), also_posted=also_posted)


def _with_data_requests(work: Callable[[DataRequests], Awaitable[T]]) -> T:
    settings = _settings(log_level="warning")

    async def with_requests() -> T:
        async with open_data_requests(settings) as requests:
            return await work(requests)

    with _plain_errors():
        return asyncio.run(with_requests())


async def _serve(settings: Settings, loaded: Sequence[LoadedSurface]) -> None:
    if settings.offline and not is_loopback(settings.host):
        raise SettingsError(
            "The offline stand-in is served on this machine only: set OPENAI_API_KEY (or OPENAI_BASE_URL), or leave "
            "HOST at 127.0.0.1."
        )
    surfaces = configured(loaded, settings)
    for each in surfaces:
        await each.check()
    with _listening(settings) as listening:
        await _serve_at(listening, settings, surfaces)


async def _serve_at(listening: socket.socket, settings: Settings, surfaces: Sequence[LoadedSurface]) -> None:
    async with open_chat(settings) as chat, asyncio.TaskGroup() as tasks:
        config = uvicorn.Config(
            create_app(settings, chat, surfaces),
            log_config=None,
            access_log=False,
            proxy_headers=False,  # we read them ourselves, as far as TRUSTED_PROXIES allows
            server_header=False,
            http=BoundedHead,
            timeout_graceful_shutdown=SECONDS_FOR_SLOW_CLIENTS,
        )
        server = _Server(config, settings, chat, surfaces)
        async with contextlib.AsyncExitStack() as bots:
            for surface in reversed(surfaces):  # what is opened last is left first, before anything ends
                if surface.path is None:
                    await bots.enter_async_context(surface.open(chat, drain_seconds=settings.drain_seconds))
            calm_garbage_collector()
            for each in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(each, server.end)
            logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # what it says at info level, we say better
            serving = tasks.create_task(server.serve(sockets=[listening]))
            ending = tasks.create_task(server.ending.wait())
            await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        # Whoever asks while answers are written to their end is told to ask elsewhere.
        await chat.drain(settings.drain_seconds)
        # From here on it cuts off whoever is slow, and would tell of each with a stack trace.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        server.should_exit = True
        ending.cancel()


def _listening(settings: Settings) -> socket.socket:
    """A socket at HOST and PORT, taken before anything else is begun. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    both = settings.host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
        reason = (getattr(error, "strerror", None) or "it is no address").lower()
        raise SettingsError(f"It cannot listen at HOST {settings.host}, PORT {settings.port}: {reason}.") from error


class _Server(uvicorn.Server):
    """Says what is served once it is, and leaves signals to us, since uvicorn's way of ending skips the drain."""

    def __init__(
        self, config: uvicorn.Config, settings: Settings, chat: Chat, surfaces: Sequence[LoadedSurface]
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._chat = chat
        self._surfaces = surfaces
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            for line in _what_is_served(self._settings, self._chat, self._surfaces, port):
                click.echo(line, err=True)

    def end(self) -> None:
        """End once running answers are written; at the second call, now."""
        self.force_exit = self.ending.is_set()
        self._chat.begin_draining(at_once=self.force_exit)
        self.ending.set()


def _what_is_served(settings: Settings, chat: Chat, surfaces: Sequence[LoadedSurface], port: int) -> Iterator[str]:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    assistants = (f"{each.name} ({each.model}{', private' if each.private else ''})" for each in chat.assistants)
    yield f"Bob is here:  {address}/chat  (API: POST {address}/ask, described at {address}/docs)"
    yield f"  database    {describe_database(settings.database_url.get_secret_value())}"
    yield f"  model       {_model(settings)}"
    yield f"  assistants  {', '.join(assistants)}"
    yield f"  surfaces    {', '.join(['web', *(each.banner for each in surfaces)])}"
    if settings.retain_days:
        yield f"  kept for    {settings.retention}"
    for warning in start_warnings(settings, serving=True):
        yield f"! {warning}"


def _model(settings: Settings) -> str:
    if settings.offline:
        return "offline stand-in"
    server = urlsplit(settings.openai_base_url).netloc.rpartition("@")[2] or "OpenAI"
    return f"{server}, threads kept {'there' if settings.threads == 'conversations' else 'here (local)'}"


def _settings(**overrides: str) -> Settings:
    return _loaded(**overrides)[0]


def _loaded(**overrides: str) -> tuple[Settings, Sequence[LoadedSurface]]:
    """The settings of this process, with overrides, and those of all surfaces, none of whose secrets gets into logs."""
    with _plain_errors():
        settings = load_settings().model_copy(update=overrides)
        surfaces = load_surfaces(SURFACES)
    configure_logging(settings.log_level, all_secrets(settings, surfaces))
    return settings, surfaces


@contextlib.contextmanager
def _plain_errors(*, sentence: str = "Bob cannot start.") -> Iterator[None]:
    try:
        yield
    except StartError as error:
        click.echo(f"{sentence} {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # who read the output has seen enough, which click ends with status 1
        raise
    except OSError as error:
        click.echo(f"{sentence} {error.strerror or type(error).__name__}.", err=True)
        sys.exit(2)
