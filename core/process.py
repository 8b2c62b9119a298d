"""What a process does once, at its start."""

from __future__ import annotations

import gc
import ipaddress
from collections.abc import Sequence

from core.identities import open_keys
from core.settings import Settings, SettingsError

YOUNG_OBJECTS = 50_000


def calm_garbage_collector() -> None:
    """Leave what was imported out of garbage collection, and collect less often.

    A request makes thousands of short-lived objects and next to no cycles; at Python's own threshold of 700 the
    collector walked all of them several times a request, which took a quarter of the throughput (`make bench`).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)


async def check_who_may_ask(settings: Settings) -> None:
    """Come back unless others than this machine could ask without a key and nobody said that they may.

    Raises StartError.
    """
    if settings.allow_anonymous or is_loopback(settings.host):
        return
    async with open_keys(settings) as (keys, _):
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
