"""Whose address a request comes from, when proxies stand in between."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN = "unknown"
FORWARDED = "forwarded"  # one name for all whose address only an untrusted header tells
_LOOPBACK = ipaddress.ip_address("127.0.0.1")


def networks(proxies: Sequence[str]) -> list[Network]:
    """The networks that TRUSTED_PROXIES names."""
    return [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]


def client_address(request: Request, trusted: Sequence[Network]) -> str:
    """The address that a request counts against, or a name for several where it cannot be known.

    X-Forwarded-For is believed as far as trusted proxies wrote it: from its end, up to the first address that is none
    of theirs. An IPv6 address stands for its /64 network, which one subscriber has to himself.
    """
    peer = _peer(request.client.host) if request.client else None
    parts = [part for value in request.headers.getlist("x-forwarded-for") for part in value.split(",")]
    if not parts:
        return _subscriber(peer)
    forwarded = [_parse(part) for part in parts]
    told = next((address for address in reversed(forwarded) if not _is_in(address, trusted)), forwarded[0])
    if _is_in(peer, trusted):
        return _subscriber(told)
    if peer in forwarded and not (told == peer and _is_in(_LOOPBACK, trusted)):
        # Started as plain `uvicorn`, the server believes any X-Forwarded-For from this machine, trusted by us or not.
        return FORWARDED
    return _subscriber(peer)


@functools.lru_cache(maxsize=1_000)
def _peer(host: str) -> Address | None:
    return _parse(host)


def _parse(text: str) -> Address | None:
    """The address in what a proxy wrote, which may add a port, brackets or a zone."""
    text = text.strip().partition("%")[0]
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if address.version == 6 else address


def is_from_here(request: Request) -> bool:
    """Whether a request comes from this machine itself, and through no proxy, as far as that is told."""
    peer = _peer(request.client.host) if request.client else None
    is_passed_on = any(name in request.headers for name in ("x-forwarded-for", "forwarded", "via"))
    return peer is not None and peer.is_loopback and not is_passed_on


def _is_in(address: Address | None, trusted: Sequence[Network]) -> bool:
    return address is not None and any(address in network for network in trusted if network.version == address.version)


@functools.lru_cache(maxsize=1_000)
def _subscriber(address: Address | None) -> str:
    if address is None:
        return UNKNOWN
    return str(address) if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))
