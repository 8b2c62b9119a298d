"""The command line: `bob run`, `bob chat`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import uvicorn

from bots.discord_bot import check_discord, connected_discord, what_is_read
from bots.slack_bot import check_slack, connected_slack
from core import (
    Chat,
    Settings,
    SettingsError,
    StartError,
    configure_logging,
    load_settings,
    open_chat,
)
from core.process import calm_garbage_collector, is_loopback, start_warnings
from web.app import create_app
from web.terminal import converse


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="threaded-assistant")
def main() -> None:
    """Bob: one assistant on Slack, Discord and your website."""


@main.command()
def run() -> None:
    """Serve every surface that is configured, until a signal ends it."""
    settings = _settings()
    with _plain_errors():
        asyncio.run(_serve(settings))


@main.command()
@click.option("--session", default="default", show_default=True, help="Which conversation to go on with.")
def chat(session: str) -> None:
    """Talk to the assistants here in the terminal."""
    settings = _settings(log_level="warning")
    for line in start_warnings(settings, serving=False):
        click.echo(f"! {line}", err=True)
    with _plain_errors(), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(converse(settings, session))


async def _serve(settings: Settings) -> None:
    if settings.offline and not is_loopback(settings.host):
        raise SettingsError(
            "The offline stand-in is served on this machine only: set OPENAI_API_KEY (or OPENAI_BASE_URL), or leave "
            "HOST at 127.0.0.1."
        )
    await check_slack(settings)
    await check_discord(settings)
    with _listening(settings) as listening:
        await _serve_at(listening, settings)


async def _serve_at(listening: socket.socket, settings: Settings) -> None:
    async with contextlib.AsyncExitStack() as stack:
        chat = await stack.enter_async_context(open_chat(settings))
        if settings.slack == "socket":
            await stack.enter_async_context(connected_slack(settings, chat))
        if settings.discord:
            await stack.enter_async_context(connected_discord(settings, chat))
        config = uvicorn.Config(
            create_app(settings, chat),
            log_config=None,
            access_log=False,
            proxy_headers=False,  # we read them ourselves, as far as TRUSTED_PROXIES allows
            server_header=False,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
        )
        server = _Server(config, settings, chat)
        calm_garbage_collector()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, server.end)
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # what it says at info level, we say better
        await server.serve(sockets=[listening])


def _listening(settings: Settings) -> socket.socket:
    """A socket at HOST and PORT, taken before anything else is begun. Raises SettingsError."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    both = settings.host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048, dualstack_ipv6=both)
    except OSError as error:
        reason = (error.strerror or "it is no address").lower()
        raise SettingsError(f"It cannot listen at HOST {settings.host}, PORT {settings.port}: {reason}.") from error


class _Server(uvicorn.Server):
    """Says what is served once it is, and leaves signals to us, since uvicorn's way of ending skips the drain."""

    def __init__(self, config: uvicorn.Config, settings: Settings, chat: Chat) -> None:
        super().__init__(config)
        self._settings = settings
        self._chat = chat

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        if self.started:
            port = self.servers[0].sockets[0].getsockname()[1]
            for line in _what_is_served(self._settings, self._chat, port):
                click.echo(line, err=True)

    def end(self) -> None:
        """End once running answers are written; at the second call, now."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._chat.begin_draining(at_once=self.force_exit)


def _what_is_served(settings: Settings, chat: Chat, port: int) -> Iterator[str]:
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    assistants = (f"{each.name} ({each.model}{', private' if each.private else ''})" for each in chat.assistants)
    yield f"Bob is here:  {address}/chat  (API: POST {address}/ask, described at {address}/docs)"
    yield f"  database    {_described(settings.database_url.get_secret_value())}"
    yield f"  model       {_model(settings)}"
    yield f"  assistants  {', '.join(assistants)}"
    yield f"  surfaces    web{_slack(settings)}{_discord(settings)}"
    for warning in start_warnings(settings, serving=True):
        yield f"! {warning}"


def _model(settings: Settings) -> str:
    if settings.offline:
        return "offline stand-in"
    server = urlsplit(settings.openai_base_url).netloc.rpartition("@")[2] or "OpenAI"
    return f"{server}, threads kept {'there' if settings.threads == 'conversations' else 'here (local)'}"


def _slack(settings: Settings) -> str:
    return {"": "", "socket": ", Slack (Socket Mode)", "http": ", Slack (at /slack/events)"}[settings.slack]


def _discord(settings: Settings) -> str:
    return f", Discord ({what_is_read(may_read_all=settings.discord_message_content)})" if settings.discord else ""


def _described(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return f"SQLite, {os.path.relpath(Path('/', parts.path[1:]) if parts.path[1:2] == '/' else parts.path[1:])}"
    return f"PostgreSQL, {parts.netloc.rpartition('@')[2]}{parts.path}"


def _settings(**overrides: str) -> Settings:
    with _plain_errors():
        settings = load_settings().model_copy(update=overrides)
    configure_logging(settings.log_level, settings.secrets)
    return settings


@contextlib.contextmanager
def _plain_errors(kinds: Sequence[type[Exception]] = (SettingsError, StartError)) -> Iterator[None]:
    try:
        yield
    except tuple(kinds) as error:
        click.echo(f"Bob cannot start. {error}", err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"Bob cannot start. {error.strerror or type(error).__name__}.", err=True)
        sys.exit(2)
