"""Whose address a request comes from, when proxies stand in between."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from starlette.requests import Request

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

UNKNOWN = "unknown"
FORWARDED = "forwarded"  # one name for all whose address only an untrusted header tells
_LOOPBACK = "127.0.0.1"


def networks(proxies: Sequence[str]) -> list[Network]:
    """The networks that TRUSTED_PROXIES names."""
    return [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]


def client_address(request: Request, trusted: Sequence[Network]) -> str:
    """The address that a request counts against, or a name for several where it cannot be known.

    X-Forwarded-For is believed as far as trusted proxies wrote it: from its end, up to the first address that is none
    of theirs. An IPv6 address stands for its /64 network, which one subscriber has to himself.
    """
    peer = request.client.host if request.client else UNKNOWN
    forwarded = [part.strip() for value in request.headers.getlist("x-forwarded-for") for part in value.split(",")]
    if not forwarded:
        return _subscriber(peer)
    told = next((part for part in reversed(forwarded) if not _is_in(part, trusted)), forwarded[0])
    if _is_in(peer, trusted):
        return _subscriber(told)
    if peer in forwarded and not (told == peer and _is_in(_LOOPBACK, trusted)):
        # Started as plain `uvicorn`, the server believes any X-Forwarded-For from this machine, trusted by us or not.
        return FORWARDED
    return _subscriber(peer)


def _is_in(address: str, trusted: Sequence[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in trusted if parsed.version == network.version)


def _subscriber(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
