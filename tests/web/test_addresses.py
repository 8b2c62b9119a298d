"""Whose address counts: what trusted proxies say, and nothing that anybody else makes up."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from starlette.requests import Request

from tests.web.conftest import Site, served
from web.addresses import FORWARDED, UNKNOWN, client_address, networks

PIN = "482913"
GUESSES = 200  # of an address, for all its sessions
PROXIES = ("10.0.0.0/8", "2001:db8:ffff::/48")


def request(peer: str | None, *forwarded: str) -> Request:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return Request({"type": "http", "headers": headers, "client": (peer, 50_000) if peer else None})


NO_PROXY: list[tuple[str | None, tuple[str, ...], str]] = [
    ("203.0.113.7", (), "203.0.113.7"),
    ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),
    ("203.0.113.7", ("198.51.100.1, 198.51.100.2", "198.51.100.3"), "203.0.113.7"),
    ("127.0.0.1", (), "127.0.0.1"),
    ("127.0.0.1", ("198.51.100.1",), "127.0.0.1"),
    ("2001:db8:1:2:3:4:5:6", (), "2001:db8:1:2::/64"),
    ("2001:db8:1:2::1", ("2001:db8:9::1",), "2001:db8:1:2::/64"),
    ("::ffff:203.0.113.7", (), "203.0.113.7"),
    ("::1", (), "::/64"),
    (None, (), UNKNOWN),
    # What plain `uvicorn` makes of a header that came from this machine: it puts the address into the client's place.
    ("198.51.100.1", ("198.51.100.1",), FORWARDED),
    ("198.51.100.2", ("198.51.100.1, 198.51.100.2",), FORWARDED),
    ("nonsense", ("nonsense",), FORWARDED),
]


@pytest.mark.parametrize(("peer", "forwarded", "expected"), NO_PROXY)
def test_without_trusted_proxies_no_header_is_believed(
    peer: str | None, forwarded: tuple[str, ...], expected: str
) -> None:
    assert client_address(request(peer, *forwarded), []) == expected


BEHIND_PROXIES: list[tuple[str, tuple[str, ...], str]] = [
    ("10.0.0.1", ("203.0.113.7",), "203.0.113.7"),
    ("10.0.0.1", ("198.51.100.1, 203.0.113.7",), "203.0.113.7"),  # the left one is what the client made up
    ("10.0.0.1", ("198.51.100.1", "203.0.113.7"), "203.0.113.7"),
    ("10.0.0.1", ("198.51.100.1,203.0.113.7 , 10.0.0.2", " 10.3.3.3 "), "203.0.113.7"),
    ("10.0.0.1", ("10.0.0.9",), "10.0.0.9"),  # somebody within
    ("10.0.0.1", ("10.0.0.9, 10.0.0.2",), "10.0.0.9"),
    ("10.0.0.1", (), "10.0.0.1"),
    ("10.0.0.1", ("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
    ("2001:db8:ffff::1", ("203.0.113.7, 2001:db8:ffff::2",), "203.0.113.7"),
    ("203.0.113.7", ("198.51.100.1",), "203.0.113.7"),  # past the proxies
    ("203.0.113.7", ("198.51.100.1, 10.0.0.1",), "203.0.113.7"),
    ("203.0.113.7", ("10.0.0.1",), "203.0.113.7"),
    ("127.0.0.1", ("198.51.100.1",), "127.0.0.1"),
    ("11.0.0.1", ("198.51.100.1",), "11.0.0.1"),
]


@pytest.mark.parametrize(("peer", "forwarded", "expected"), BEHIND_PROXIES)
def test_a_header_is_believed_as_far_as_trusted_proxies_wrote_it(
    peer: str, forwarded: tuple[str, ...], expected: str
) -> None:
    assert client_address(request(peer, *forwarded), networks(PROXIES)) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("127.0.0.1", ("203.0.113.7",), "203.0.113.7"),
        ("203.0.113.7", ("203.0.113.7",), "203.0.113.7"),  # the same, rewritten by uvicorn
        ("203.0.113.7", ("198.51.100.1, 203.0.113.7",), "203.0.113.7"),
        ("203.0.113.7", ("203.0.113.7, 198.51.100.1",), FORWARDED),  # uvicorn never does that: made up
        ("127.0.0.1", (), "127.0.0.1"),
    ],
)
def test_with_the_loopback_trusted_it_makes_no_difference_whether_the_server_rewrote_the_client(
    peer: str, forwarded: tuple[str, ...], expected: str
) -> None:
    assert client_address(request(peer, *forwarded), networks(["127.0.0.1"])) == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("203.0.113.7:4711", "203.0.113.7"),
        ("[2001:db8:1:2::7]", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2::7]:4711", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
    ],
)
def test_a_port_or_a_zone_that_a_proxy_adds_makes_nobody_another_client(told: str, expected: str) -> None:
    """Azure's gateway forwards address:port; each connection would have another, and guess anew."""
    assert client_address(request("10.0.0.1", told), networks(PROXIES)) == expected


@pytest.mark.parametrize("told", ["", "unknown", "_hidden", "x" * 500, "1.2.3", "🎈"])
def test_a_trusted_header_that_tells_no_address_is_no_error(told: str) -> None:
    assert isinstance(client_address(request("10.0.0.1", told), networks(PROXIES)), str)


def test_a_proxy_at_a_mapped_address_is_trusted_as_what_it_is() -> None:
    assert client_address(request("::ffff:10.0.0.1", "203.0.113.7"), networks(PROXIES)) == "203.0.113.7"


# ── over HTTP: guesses count against an address ──────────────────────────────────────────────────────────────────────


class Guesser:
    """Says wrong words of six digits, five in a message, each time in another session."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._words = (f"{number}" for number in itertools.count(100_000))
        self._sessions = (f"s{number}" for number in itertools.count())

    async def guess(self, words: int, *, forwarded: list[str]) -> None:
        for at in range(0, words, 5):
            text = " ".join(itertools.islice(self._words, 5))
            await self._say(text, forwarded[at % len(forwarded)])

    async def unlocks(self, forwarded: str) -> bool:
        status, body = await self._say(f"{PIN} hello", forwarded)
        assert status in (200, 429), body
        return status == 200 and "as Private-Bob" in body["response"]

    async def _say(self, text: str, forwarded: str) -> tuple[int, dict[str, Any]]:
        headers = {"X-Forwarded-For": forwarded} if forwarded else {}
        return await self._site.ask(text, next(self._sessions), headers=headers)


MANY = [f"198.51.100.{n}" for n in range(1, 61)]


@pytest.mark.parametrize("rewriting", [False, True], ids=["bob run", "uvicorn"])
async def test_made_up_addresses_do_not_let_anybody_guess_on(sqlite_url: str, rewriting: bool) -> None:
    async with served(None, sqlite_url, proxy_headers=rewriting, private_bob_password=PIN) as site:
        guesser = Guesser(site)
        await guesser.guess(GUESSES - 5, forwarded=MANY)
        assert await guesser.unlocks("198.51.100.77")
        await guesser.guess(5, forwarded=MANY)
        assert not await guesser.unlocks("198.51.100.88")
        assert await guesser.unlocks("") is rewriting  # the same client, where the header does not count


@pytest.mark.parametrize("rewriting", [False, True], ids=["bob run", "uvicorn"])
async def test_clients_behind_a_trusted_proxy_are_told_apart(sqlite_url: str, rewriting: bool) -> None:
    async with served(
        None, sqlite_url, proxy_headers=rewriting, trusted_proxies="127.0.0.1", private_bob_password=PIN
    ) as site:
        guesser = Guesser(site)
        await guesser.guess(GUESSES, forwarded=[f"{made_up}, 203.0.113.7" for made_up in MANY])
        assert not await guesser.unlocks("198.51.100.99, 203.0.113.7")
        assert await guesser.unlocks("203.0.113.8")


async def test_addresses_of_one_subscriber_count_as_one(sqlite_url: str) -> None:
    async with served(None, sqlite_url, trusted_proxies="127.0.0.1", private_bob_password=PIN) as site:
        guesser = Guesser(site)
        await guesser.guess(GUESSES, forwarded=[f"2001:db8:1:2::{n}" for n in range(1, 61)])
        assert not await guesser.unlocks("2001:db8:1:2:ffff::1")
        assert await guesser.unlocks("2001:db8:1:3::1")
