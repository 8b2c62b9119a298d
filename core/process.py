"""What a process does once, at its start."""

from __future__ import annotations

import contextlib
import gc
import ipaddress
import shlex
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from core.api_keys import open_api_keys
from core.bootstrap import load_assistants, load_passwords
from core.password import Kind
from core.settings import Settings, SettingsError
from core.store.database import database_files
from core.store.guesses import MOST_WRONG_WORDS

YOUNG_OBJECTS = 50_000


def calm_garbage_collector() -> None:
    """Leave what was imported out of garbage collection, and collect less often.

    A request makes thousands of short-lived objects and next to no cycles; at Python's own threshold of 700 the
    collector walked all of them several times a request, which took a quarter of the throughput (`make bench`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


def start_warnings(settings: Settings, *, serving: bool) -> Iterator[str]:
    """What its operator should know about these settings; `serving`: others can reach it. Raises StartError."""
    if settings.offline:
        yield (
            "OFFLINE STAND-IN: no language model is set, so answers only repeat what was said. "
            "Set OPENAI_API_KEY or OPENAI_BASE_URL."
        )
    if settings.openai_model and settings.assistants_file is not None:
        yield "OPENAI_MODEL is not used: the assistants of ASSISTANTS_FILE name their own models."
    if settings.openai_api_key.get_secret_value() and "@" in settings.openai_base_url:
        yield "OPENAI_BASE_URL holds a user and a password, which are sent instead of OPENAI_API_KEY."
    for password in load_passwords(settings, load_assistants(settings)):
        if password.kind is Kind.PUBLISHED:
            yield (
                f"{password.name} is the published default, which protects nothing. Set your own (`bob password` makes "
                "one), or set it empty."
            )
        elif password.kind is Kind.PIN:
            yield (
                f"{password.name} is a PIN, so words of {password.length} digits are guesses: a person has "
                f"{MOST_WRONG_WORDS} an hour, and what holds more is not read. `bob password` makes a strong one, "
                "which needs no bound."
            )
    if readable := [shlex.quote(path) for path in _readable_by_others(settings)]:
        yield f"Others on this machine can read {' and '.join(readable)}: chmod 600 {' '.join(readable)}"
    if not serving:
        return
    if not is_loopback(settings.host) and settings.allow_anonymous and not settings.api_keys.get_secret_value():
        yield f"Without a key (API_KEYS, or `bob keys new`) anybody who reaches {settings.host} can ask."
    if not settings.allowed_hosts and is_exposed(settings):
        yield "ALLOWED_HOSTS is not set, so Bob answers to any host name."
    if settings.cors_allow_credentials and "*" in settings.cors_allow_origins:
        yield (
            "CORS_ALLOW_CREDENTIALS with any origin lets every website act with its visitors' cookies. "
            "List your own in CORS_ALLOW_ORIGINS."
        )


async def check_who_may_ask(settings: Settings) -> None:
    """Come back unless others than this machine could ask without a key and nobody said that they may.

    Raises StartError.
    """
    if settings.allow_anonymous or is_loopback(settings.host):
        return
    async with open_api_keys(settings) as keys:
        if await keys.required():
            return
    raise SettingsError(
        f"HOST {settings.host} is reached from other machines, and no key is needed to ask: make one (`bob keys new "
        "NAME`, or API_KEYS), leave HOST at 127.0.0.1, or set ALLOW_ANONYMOUS=true if anybody may ask."
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_exposed(settings: Settings) -> bool:
    """Whether others than this machine can reach the server, by its address or through a proxy."""
    return not is_loopback(settings.host) or bool(settings.trusted_proxies)


def allowed_hosts(settings: Settings) -> Sequence[str]:
    """The names by which the server may be reached, as requests write them without a port; "*" is any.

    By default only this machine's own where only this machine reaches it: a web page can have its name lead here.
    """
    if settings.allowed_hosts or is_exposed(settings):
        return settings.allowed_hosts or ("*",)
    ours = f"[{settings.host}]" if ":" in settings.host else settings.host
    return ("localhost", "127.0.0.1", "[::1]", ours)


def _readable_by_others(settings: Settings) -> Iterator[str]:
    """The files with secrets or conversations that not only their owner can read."""
    for path in (Path(".env").absolute(), *database_files(settings.database_url.get_secret_value())):
        with contextlib.suppress(OSError):
            if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                yield str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
