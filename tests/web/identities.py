"""A website that signs who its visitors are, and forgers of what it signs."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from yarl import URL

from core import IdentityMode
from tests.fakes.openai_api import FakeOpenAI
from tests.web.conftest import Site, served
from tests.web.test_keys import ALICE, KEYS, SHOP

SECRET = "a secret of identities that nobody guesses".replace(" ", "-")
AUDIENCE = "shop"
HOUR = 3_600


def part(content: Any) -> str:
    """A part of a token. Bytes are taken as they are."""
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def signed(header: Any, claims: Any, secret: str, digest: str = "sha256") -> str:
    """A token as RFC 7515 has it, made without the library that reads it."""
    text = f"{part(header)}.{part(claims)}"
    return f"{text}.{part(hmac.digest(secret.encode(), text.encode(), getattr(hashlib, digest)))}"


@dataclass(frozen=True)
class Signer:
    """The server of a website, with one identity key."""

    kid: str
    secret: str

    def token(self, sub: Any = "ana", **claims: Any) -> str:
        """A token. A claim that is None is left out."""
        told = {"sub": sub, "exp": time.time() + 600, "aud": AUDIENCE, **claims}
        return self.of({name: value for name, value in told.items() if value is not None})

    def of(self, claims: Any, **header: Any) -> str:
        """These claims, signed."""
        return signed({"alg": "HS256", "typ": "JWT", "kid": self.kid, **header}, claims, self.secret)


@dataclass(frozen=True)
class Shop:
    """A website with a publishable key, whose visitors talk to Bob."""

    site: Site
    key: str
    signer: Signer

    def headers(self, *tokens: str, **more: str) -> list[tuple[str, str]]:
        """What a page of the website sends, with these identities."""
        told = {"Authorization": f"Bearer {self.key}", "Origin": SHOP, **more}
        return [*told.items(), *(("X-Bob-Identity", token) for token in tokens)]

    async def send(
        self, method: str, path: str, *tokens: str, body: Any = None, **more: str
    ) -> tuple[int, Any, Mapping[str, str]]:
        """The status, the JSON or text, and the headers of a response to a visitor."""
        url = URL(self.site.url + path, encoded=True)
        async with self.site.http.request(method, url, json=body, headers=self.headers(*tokens, **more)) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(text) if is_json and text else text, response.headers

    async def ask(self, text: str, session: str, *tokens: str, **more: str) -> tuple[int, Any]:
        """Ask in a session: the status and the body."""
        body = {"session_id": session, "user_input": text}
        status, told, _ = await self.send("POST", "/ask", *tokens, body=body, **more)
        return status, told

    async def begun(self, *tokens: str) -> str:
        """The id of a session that Bob made."""
        status, made, _ = await self.send("POST", "/sessions", *tokens)
        assert status == 201, made
        return str(made["session_id"])

    async def mode(self, mode: IdentityMode) -> None:
        """Have the key take identities so from now on, once what is known of it counts no more."""
        await self.site.chat.keys.set_identity("shop", mode)

    async def another_signer(self) -> Signer:
        """One with a new identity key of this website."""
        key, secret = await self.site.chat.identities.make("shop")
        return Signer(key.kid, secret)


@contextlib.asynccontextmanager
async def shop(
    fake: FakeOpenAI | None, database_url: str, mode: IdentityMode = "offered", **settings: Any
) -> AsyncIterator[Shop]:
    """A website whose key belongs to Alice, served."""
    async with served(fake, database_url, **{"api_keys": KEYS, "identity_secret": SECRET, **settings}) as site:
        key, _ = await site.chat.keys.make("shop", private=False, origins=[SHOP], owner="alice", identity=mode)
        identity_key, secret = await site.chat.identities.make("shop")
        yield Shop(site, key, Signer(identity_key.kid, secret))


def server() -> dict[str, str]:
    """What the website's own server sends."""
    return {"Authorization": f"Bearer {ALICE}"}
