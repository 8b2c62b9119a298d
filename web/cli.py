"""The command line: `bob --help` lists what there is."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar, get_args
from urllib.parse import urlsplit

import click
import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from bots import SURFACES
from bots.shared.surface import LoadedSurface, all_secrets, configured, load_surfaces
from core import (
    OPEN_NAMESPACE,
    ApiKeys,
    Chat,
    ChatError,
    DataRequests,
    Filters,
    ForgetRequest,
    Forgotten,
    Identities,
    IdentityMode,
    Outcome,
    Settings,
    SettingsError,
    StartError,
    back_up,
    calm_garbage_collector,
    check_who_may_ask,
    compact,
    configure_logging,
    describe_database,
    generated_password,
    load_settings,
    open_chat,
    open_data_requests,
    open_keys,
    open_stories,
    restore_from,
    start_warnings,
)
from web import archive
from web.app import create_app
from web.data_reports import report_of, what_was_forgotten, write_person
from web.doctor import check_stand_in, doctor
from web.ending import SECONDS_FOR_SLOW_CLIENTS
from web.heads import BoundedHead
from web.healthy import ask_for_life
from web.setup import init
from web.terminal import converse, visible
from web.why import Found, look, look_at_person, look_at_session, say, time_in

EXIT_CODE_OF_AN_INTERRUPTION = 130
T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
MODELS = [each.settings for each in SURFACES]
MODES = get_args(IdentityMode)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="threaded-assistant")
def main() -> None:
    """Bob: one assistant on Slack, Discord and your website."""


main.add_command(doctor)
main.add_command(init)


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
        for line in start_warnings(settings, serving=False, models=MODELS):
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
@click.argument("which", metavar="LINK|ID|REFERENCE", required=False)
@click.option("--person", help="Whose questions: slack:T0123:U0123, discord:0123, as `bob why` names them.")
@click.option("--around", metavar="TIME", help="When, give or take half an hour: 20:15, or 2026-11-30 20:15.")
@click.option("--session", help="In which session, as in the API or as `bob why` names it.")
@click.option("--json", "in_json", is_flag=True, help="For programs; times are seconds since 1970.")
def why(which: str | None, person: str | None, around: str | None, session: str | None, in_json: bool) -> None:
    """Tell what became of a message, of a turn, or of what somebody asked, also while Bob runs.

    A message is named by its link or id in Slack or on Discord, a turn by the reference that its person was told.
    Nothing is told of what was said.
    """
    if sum(each is not None for each in (which, person, session)) != 1 or (around is not None and person is None):
        raise click.UsageError("Name one message or turn, or --person (with --around, if you like), or --session.")
    at = None if around is None else time_in(around)
    settings, surfaces = _loaded(log_level="warning")

    async def looked_up() -> Found:
        async with open_stories(settings) as stories:
            if which is not None:
                return await look(stories, surfaces, which)
            if person is not None:
                return await look_at_person(stories, surfaces, person, at)
            return await look_at_session(stories, session or "")

    with _plain_errors(sentence="Nothing can be looked up."):
        found = asyncio.run(looked_up())
    say(found, in_json=in_json)


@main.command()
def healthy() -> None:
    """Ask the Bob that runs here whether he lives: 0 if he does, else 1, with a sentence."""
    try:
        lives, sentence = ask_for_life(load_settings())
    except StartError as error:
        raise click.ClickException(str(error)) from None
    if not lives:
        raise click.ClickException(sentence)
    click.echo(sentence)


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
    "--owner",
    "--feedback-to",
    "owner",
    metavar="NAME",
    help="The secret key of the same website's server: it reads what is thought of answers under this one, and erases "
    "its people.",
)
@click.option(
    "--identity",
    type=click.Choice(MODES),
    default="off",
    show_default=True,
    help="Whether the website may say who its visitor is, or has to.",
)
def new_key(
    name: str, origins: tuple[str, ...], private: bool | None, owner: str | None, identity: IdentityMode
) -> None:
    """Make a key of this NAME, and print it: it is shown this once.

    Sessions belong to the name: a key that takes the place of a revoked one goes on with them.
    """

    async def make(api_keys: ApiKeys, _: Identities) -> str:
        allowed = not origins if private is None else private
        secret, _key = await api_keys.make(name, private=allowed, origins=origins, owner=owner, identity=identity)
        return secret

    click.echo(_with_keys(make))


@keys.command("list")
def list_keys() -> None:
    """Show the keys there are and were, but not what they are."""
    for key in _with_keys(lambda api_keys, _: api_keys.all()):
        since = "in API_KEYS" if key.created_at is None else f"made {_day(key.created_at)}"
        until = "" if key.revoked_at is None else f", revoked {_day(key.revoked_at)}"
        kind = f"publishable on {' '.join(key.origins)}" if key.publishable else "secret"
        owner = f", owner {key.owner}" if key.owner else ""
        identity = "" if key.identity == "off" else f", identity {key.identity}"
        private = "private" if key.private else "not private"
        click.echo(f"{key.id}  {key.name:20} {kind}, {private}{owner}{identity}; {since}{until}")


@keys.command("revoke")
@click.argument("which", metavar="NAME|ID")
def revoke_key(which: str) -> None:
    """Take a key no more, from two seconds on, in all processes. Its sessions stay."""
    revoked = _with_keys(lambda api_keys, _: api_keys.revoke(which))
    if not revoked:
        raise click.ClickException("There is no such key to revoke. Those of API_KEYS are revoked there.")
    for key in revoked:
        click.echo(f"Revoked {key.id} {key.name}.")


@keys.group()
def identity() -> None:
    """Keys with which a website's server signs who its visitor is."""


@identity.command("new")
@click.argument("name")
def new_identity_key(name: str) -> None:
    """Make an identity key for the publishable key of this NAME, and print it: its secret is shown this once.

    Two of a name may be live, so that one can take the place of the other.
    """
    key, secret = _with_keys(lambda _, identities: identities.make(name))
    click.echo(f"kid     {key.kid}\nsecret  {secret}")


@identity.command("list")
def list_identity_keys() -> None:
    """Show the identity keys there are and were, but not their secrets."""
    for key in _with_keys(lambda _, identities: identities.all()):
        until = "" if key.retired_at is None else f", retired {_day(key.retired_at)}"
        click.echo(f"{key.kid:40} for {key.name}; made {_day(key.created_at or 0)}{until}")


@identity.command("retire")
@click.argument("which", metavar="KID|NAME")
def retire_identity_key(which: str) -> None:
    """Take no more what an identity key, or all of a name, have signed: from two seconds on, in all processes."""
    retired = _with_keys(lambda _, identities: identities.retire(which))
    if not retired:
        raise click.ClickException("There is no such identity key to retire.")
    for key in retired:
        click.echo(f"Retired {key.kid}.")


@identity.command("mode")
@click.argument("name")
@click.argument("mode", type=click.Choice(MODES))
def set_identity_mode(name: str, mode: IdentityMode) -> None:
    """Say whether the website of the publishable key of this NAME may say who its visitor is, or has to.

    With "off" it may not, with "offered" visitors without an identity are guests, and with "required" they are refused.
    """
    _with_keys(lambda api_keys, _: api_keys.set_identity(name, mode))


def _with_keys(work: Callable[[ApiKeys, Identities], Awaitable[T]]) -> T:
    settings = _settings(log_level="warning")

    async def with_keys() -> T:
        async with open_keys(settings) as (api_keys, identities):
            return await work(api_keys, identities)

    with _plain_errors():
        return asyncio.run(with_keys())


@main.group()
def sessions() -> None:
    """The conversations there are: listed, shown, exported, imported, begun anew and deleted."""


def _filtering(command: Command) -> Command:
    for option in reversed(
        (
            click.option("--surface", help="Only of this surface: web, slack, discord or terminal."),
            click.option("--place", help="Only within this place: the beginning of their names, like slack:T1:C1."),
            click.option("--person", help="Only those in which this person asked, as Bob knows them: slack:T1:U1."),
            click.option("--since", type=click.DateTime(), help="Only those asked in since then, in UTC."),
            click.option("--until", type=click.DateTime(), help="Only those asked in before then, in UTC."),
            click.option("--outcome", type=click.Choice([*Outcome]), help="Only those with a turn that ended so."),
        )
    ):
        command = option(command)
    return command


def _filters(
    surface: str | None, place: str | None, person: str | None, since: datetime | None, until: datetime | None,
    outcome: str | None,
) -> Filters:  # fmt: skip
    if surface and place and place.partition(":")[0] != surface:
        raise click.UsageError("That place is none of that surface.")
    within = place or surface or ""
    first, end = (None if each is None else each.replace(tzinfo=UTC).timestamp() for each in (since, until))
    return Filters(within, person, first, end, None if outcome is None else Outcome(outcome))


@sessions.command("list")
@_filtering
@click.option("--after", metavar="SESSION", help="Go on behind this one.")
@click.option("--limit", type=click.IntRange(0), default=50, show_default=True, help="At most so many; 0: all.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, a line for each.")
def list_sessions(after: str | None, limit: int, as_json: bool, **filters: Any) -> None:
    """Show the sessions there are, those made last first: when each was last asked in, its turns and its name."""
    meant = _filters(**filters)
    _with_sessions(lambda settings: archive.list_sessions(settings, meant, after=after, limit=limit, as_json=as_json))


@sessions.command("show")
@click.argument("session")
@click.option("--private", is_flag=True, help="Show what private assistants were asked, too.")
@click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="Only so many turns.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, a line for each turn.")
def show_session(session: str, private: bool, last: int, as_json: bool) -> None:
    """Show what was asked and answered in a SESSION since it was reset."""
    _with_sessions(
        lambda settings: archive.show_session(settings, session, private=private, last=last, as_json=as_json)
    )


@sessions.command("export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@_filtering
@click.option("--session", "names", multiple=True, help="Only this one; may be repeated, and goes without filters.")
@click.option("--private", is_flag=True, help="Export what private assistants were asked, too.")
@click.option("--markdown", is_flag=True, help="As Markdown, to be read; it cannot be imported.")
def export_sessions(file: Path, names: tuple[str, ...], private: bool, markdown: bool, **filters: Any) -> None:
    """Write sessions into FILE (-: the standard output), with attachments, as JSON Lines that `import` takes."""
    meant = _filters(**filters)
    if names and meant != Filters():
        raise click.UsageError("Either name sessions or filter them.")
    _with_sessions(
        lambda settings: archive.export_sessions(settings, file, meant, names, private=private, markdown=markdown),
        failed="Nothing was exported.",
    )


@sessions.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", "dry", is_flag=True, help="Change nothing, and count what would be imported.")
@click.option(
    "--assistant", "assistants", multiple=True, metavar="[ID=]NAME",
    help="Whose turns those of others become (of the assistant with this ID there); by default the first public one's.",
)  # fmt: skip
@click.option(
    "--session-prefix", "prefix", default=f"web:{OPEN_NAMESPACE}:imported-", show_default=True,
    help="How the names of sessions begin that come from ChatGPT or the Assistants API.",
)  # fmt: skip
@click.option("--bot", "bots", multiple=True, help="The bot on Slack or Discord that was asked: its name or id.")
@click.option("--workspace", default="", help="Slack's id (T… or E…), where the export does not tell it.")
@click.option("--json", "as_json", is_flag=True, help="Tell what became of it as JSON.")
def import_sessions(file: Path, prefix: str, dry: bool, as_json: bool, **more: Any) -> None:
    """Import sessions from FILE, or a folder, whatever it holds; the same command goes on where it was interrupted.

    It may be an export of Bob's, ChatGPT's, a dump of threads of the Assistants API, an export of Slack's or one of
    DiscordChatExporter in JSON.
    """
    if not re.fullmatch(r"(web:[A-Za-z0-9_-]{1,40}|terminal):[\w.-]{0,100}", prefix, re.ASCII):
        raise click.BadParameter(
            "it is like web:NAME: or terminal:, with what you like behind.", param_hint="--session-prefix"
        )
    all_read = _with_sessions(
        lambda settings: archive.import_sessions(settings, file, prefix=prefix, dry=dry, as_json=as_json, **more),
        failed="The import ended.",
    )
    if not all_read:
        sys.exit(1)


@sessions.command("reset")
@click.argument("names", metavar="SESSION...", nargs=-1, required=True)
def reset_sessions(names: tuple[str, ...]) -> None:
    """Begin sessions anew: assistants are told nothing of what was said so far."""
    if not _with_sessions(lambda settings: archive.reset_sessions(settings, names)):
        sys.exit(1)


@sessions.command("delete")
@click.argument("names", metavar="SESSION...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_sessions(names: tuple[str, ...], yes: bool) -> None:
    """Erase what was said in sessions, here and at OpenAI (there as soon as Bob runs)."""
    if not yes:
        click.confirm(f"Erase {len(names)} session{'s' * (len(names) > 1)} for good?", abort=True)
    if not _with_sessions(lambda settings: archive.delete_sessions(settings, names)):
        sys.exit(1)


def _with_sessions(work: Callable[[Settings], Coroutine[Any, Any, T]], *, failed: str = "It failed.") -> T:
    settings = _settings(log_level="warning")
    with _plain_errors(sentence=failed):
        try:
            return asyncio.run(work(settings))
        except KeyboardInterrupt:
            sys.exit(EXIT_CODE_OF_AN_INTERRUPTION)
        except ChatError as failure:
            raise click.ClickException(str(failure)) from None


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
    check_stand_in(settings)
    await check_who_may_ask(settings)
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
    for warning in start_warnings(settings, serving=True, models=MODELS):
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
        click.echo(f"{sentence} {visible(str(error))}", err=True)  # it may name what stands in somebody's file
        sys.exit(2)
    except BrokenPipeError:  # who read the output has seen enough, which click ends with status 1
        raise
    except OSError as error:
        click.echo(f"{sentence} {error.strerror or type(error).__name__}.", err=True)
        sys.exit(2)
