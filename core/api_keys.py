"""Who may use the web API: keys that are set as API_KEYS, and keys that were made and are stored by their digests."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from core.errors import StartError
from core.settings import SettingsError
from core.store import Store
from core.turns import ApiKey, IdentityMode

T = TypeVar("T")

SECONDS_A_LOOK_COUNTS = 2.0  # so long a revoked key may still be taken
MOST_LOOKS = 10_000
LETTERS_OF_AN_ID = 12
SHORTEST_SECRET = 16  # anything shorter can be guessed, or found from its digest
_HOSTNAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|[0-9a-f:.]*:[0-9a-f:.]*")  # as browsers write it, or IPv6
SECRET_PREFIX, PUBLISHABLE_PREFIX = "bob-secret-", "bob-public-"
OPEN_NAMESPACE = "public"  # in whose name is asked without a key
NO_PUBLISHABLE_KEY = "There is no publishable key {name}: make it with `bob keys new {name} --origin https://…`."
ONLY_WEBSITES = "Only a publishable key takes identities: make it with --origin https://…."

_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)


class NoSuchKey(Exception):
    """The key is none of ours, or was revoked."""


class Looks(Generic[T]):
    """What is looked up with each request, and counts for two seconds."""

    def __init__(self, look: Callable[[str], Awaitable[T | None]]) -> None:
        self._look = look
        self._looked: dict[str, tuple[float, T | None]] = {}

    async def find(self, name: str) -> T | None:
        """What there is of this name, or was two seconds ago."""
        now = asyncio.get_running_loop().time()
        until, found = self._looked.get(name, (now, None))
        if until > now:
            return found
        found = await self._look(name)
        if len(self._looked) >= MOST_LOOKS:
            self._looked.clear()
        self._looked[name] = now + SECONDS_A_LOOK_COUNTS, found
        return found


class ApiKeys:
    """The keys of the web API. Without any, and while none was ever made, the API is open.

    Methods raise StoreUnavailable where the database fails.
    """

    def __init__(self, store: Store, configured: Mapping[str, ApiKey]) -> None:
        self._store = store
        self._configured = configured
        self._looks: Looks[ApiKey] = Looks(store.keys.by_digest)
        self._looked_for_any = -SECONDS_A_LOOK_COUNTS
        self._any = bool(configured)

    async def required(self) -> bool:
        """Whether a key is needed. Once one was made it always is, also when the last one was revoked."""
        now = asyncio.get_running_loop().time()
        if not self._any and now - self._looked_for_any >= SECONDS_A_LOOK_COUNTS:
            self._any = await self._store.keys.any()
            self._looked_for_any = now
        return self._any

    async def find(self, presented: str) -> ApiKey:
        """What is known of a key that somebody presents. Raises NoSuchKey."""
        digest = digest_of(presented)
        found = None
        for each, key in self._configured.items():  # all of them, so that the time taken tells nothing
            if hmac.compare_digest(each, digest):
                found = key
        found = found or await self._looks.find(digest)
        if found is None:
            raise NoSuchKey
        return found

    async def make(
        self,
        name: str,
        *,
        private: bool,
        origins: Sequence[str],
        owner: str | None = None,
        identity: IdentityMode = "off",
    ) -> tuple[str, ApiKey]:
        """A new key, which is told this once, and what is stored of it: a publishable one, if it has `origins`.

        Raises StartError where it cannot be.
        """
        check_name(name)
        if owner is not None:
            check_name(owner)
        if identity != "off" and not origins:
            raise StartError(ONLY_WEBSITES)
        secret = (PUBLISHABLE_PREFIX if origins else SECRET_PREFIX) + secrets.token_urlsafe(32)
        digest = digest_of(secret)
        key = ApiKey(
            digest[:LETTERS_OF_AN_ID], name, publishable=bool(origins), private=private,
            origins=tuple(map(origin_of, origins)), owner=owner,
            identity=identity,
        )  # fmt: skip
        if _is_taken(name, self._configured.values()) or not await self._store.keys.add(key, digest):
            raise StartError(f"There is a key {name} already. Its sessions would belong to both: revoke it first.")
        return secret, key

    async def all(self) -> Sequence[ApiKey]:
        """Those of API_KEYS, and every key that was ever made, the oldest first."""
        return [*self._configured.values(), *await self._store.keys.all()]

    async def owned_by(self, name: str) -> Sequence[str]:
        """The names of the keys whose owner has this name."""
        return await self._store.keys.owned_by(name)

    async def set_identity(self, name: str, mode: IdentityMode) -> None:
        """Say what the publishable key of a name does about identities. Raises StartError where there is none."""
        if not await self._store.keys.set_identity(name, mode):
            raise StartError(NO_PUBLISHABLE_KEY.format(name=name))

    async def check_is_publishable(self, name: str) -> None:
        """Come back if there is a publishable key of this name. Raises StartError."""
        if not await self._store.keys.is_publishable(name):
            raise StartError(NO_PUBLISHABLE_KEY.format(name=name))

    async def revoke(self, which: str) -> Sequence[ApiKey]:
        """Take no more the keys with this name or id; which ones that were."""
        return await self._store.keys.revoke(which)


def digest_of(key: str) -> str:
    """How a key is stored. Keys are long and random, so nothing slower is needed against guessing."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).hexdigest()


def configured_keys(api_keys: str) -> Mapping[str, ApiKey]:
    """The keys that API_KEYS lists, by their digests. Raises SettingsError, with no key in it.

    Each entry is `name:key`, or a key alone, which goes by the beginning of its digest. Names that differ in capitals
    only are one.
    """
    found: dict[str, ApiKey] = {}
    for entry in api_keys.replace(",", " ").split():
        name, colon, secret = entry.partition(":")
        if not colon:
            name, secret = f"key-{digest_of(entry)[:LETTERS_OF_AN_ID]}", entry
        if not secret:
            raise SettingsError("API_KEYS: an entry has no key. Each is a key, or name:key.")
        if len(secret) < SHORTEST_SECRET:
            whose = f"the key {name}" if colon and _NAME.fullmatch(name) else "a key without a name"
            raise SettingsError(f"API_KEYS: {whose} is too short. It takes {SHORTEST_SECRET} characters at least.")
        try:
            check_name(name)
        except StartError as error:
            raise SettingsError(f"API_KEYS: {error}") from None
        digest = digest_of(secret)
        if digest in found:
            raise SettingsError("API_KEYS: a key is there twice.")
        if _is_taken(name, found.values()):
            raise SettingsError(f"API_KEYS: there are two keys of the name {name}.")
        found[digest] = ApiKey(digest[:LETTERS_OF_AN_ID], name)
    return found


def check_name(name: str) -> None:
    """Come back if keys may have this name. Raises StartError."""
    if not _NAME.fullmatch(name) or name.lower() == OPEN_NAMESPACE:
        raise StartError(f"A key's name is up to 40 letters, digits, - and _, and not {OPEN_NAMESPACE}.")


def _is_taken(name: str, keys: Iterable[ApiKey]) -> bool:
    return any(key.name.lower() == name.lower() for key in keys)


def origin_of(address: str) -> str:
    """The origin of a web page, as browsers write it. Raises StartError."""
    try:
        parts = urlsplit(address)
        port = parts.port
        hostname = (parts.hostname or "").encode("idna").decode()
    except ValueError:
        parts, port, hostname = urlsplit(""), None, ""
    is_a_host = _HOSTNAME.fullmatch(hostname) is not None
    if parts.scheme not in ("http", "https") or not is_a_host or parts.path not in ("", "/") or parts.query:
        raise StartError("An origin is like https://www.example.com or http://localhost:8080, with no path.")
    default = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{hostname}]" if ":" in hostname else hostname
    return f"{parts.scheme}://{host}" + ("" if port in (None, default) else f":{port}")
