"""Who a website says its visitor is: in a JSON Web Token (RFC 7519) that its server has signed with an identity key.

A key's secret is derived from IDENTITY_SECRET and its id, so that nothing of it is in the database.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from core.api_keys import ApiKeys, Looks, configured_keys
from core.errors import StartError
from core.settings import Settings
from core.store import Store
from core.turns import ApiKey, IdentityKey

ALGORITHM = "HS256"
LEEWAY_SECONDS = 60  # by which clocks may differ
LONGEST_LIFE_SECONDS = 3_600
LONGEST_TOKEN = 8_192  # characters
LONGEST_SUBJECT = 255
LIVE_AT_ONCE = 2  # of a name: one that is used, and one that takes its place
SECRET_PREFIX = "bob-identity-"
_KID = re.compile(r"(?P<name>[A-Za-z0-9_-]{1,40})\.[0-9a-f]{12}")
NO_SECRET = (
    "IDENTITY_SECRET is not set, from which identity keys are made. Set it in .env or the environment of every process "
    "of Bob, and keep it: with another one all of them are other keys. This one nobody can guess: {secret}"
)


class InvalidIdentity(Exception):
    """What is presented is no identity here. `why` is for whoever signs them, and says nothing of what is in it."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


class ExpiredIdentity(InvalidIdentity):
    """It was one, until it expired."""

    def __init__(self) -> None:
        super().__init__("it has expired")


class Identities:
    """The identity keys, and who signs what with them.

    Methods raise StoreUnavailable where the database fails.
    """

    def __init__(self, store: Store, keys: ApiKeys, secret: str) -> None:
        self._store = store
        self._keys = keys
        self._secret = secret
        self._looks: Looks[IdentityKey] = Looks(store.identity_keys.live_identity_key)

    async def person(self, token: str, key: ApiKey) -> str:
        """A digest of whom a token names to this key of the API. Raises InvalidIdentity, and ExpiredIdentity.

        It has to be signed with HS256 by a live identity key of the same name, to have `sub`, `exp` and `aud`, which is
        the key's name or one of its origins, and to end within an hour.
        """
        import jwt  # here, so that Bob starts sooner where there are none

        if len(token) > LONGEST_TOKEN:
            raise InvalidIdentity(f"it is longer than {LONGEST_TOKEN:,} characters")
        if not self._secret:
            raise InvalidIdentity("IDENTITY_SECRET is not set where Bob runs")
        try:
            kid = jwt.get_unverified_header(token).get("kid") or ""
            made = _KID.fullmatch(kid)
            if made is None or made["name"] != key.name or await self._looks.find(kid) is None:
                raise InvalidIdentity("its kid is no live identity key of this API key's name")
            claims = jwt.decode(
                token, self._secret_of(kid), algorithms=[ALGORITHM], leeway=LEEWAY_SECONDS,
                audience=[key.name, *key.origins], options={"require": ["exp", "sub", "aud"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise ExpiredIdentity from None
        except jwt.PyJWTError as error:
            raise InvalidIdentity(_REASONS.get(type(error).__name__, "it is no JWT")) from None
        _check_life(claims)
        return digest_of_person(_subject(claims))

    async def make(self, name: str) -> tuple[IdentityKey, str]:
        """A new identity key for the API keys of a name, and its secret. Raises StartError where it cannot be."""
        if not self._secret:
            raise StartError(NO_SECRET.format(secret=secrets.token_urlsafe(32)))
        await self._keys.check_is_publishable(name)
        kid = f"{name}.{secrets.token_hex(6)}"
        if not await self._store.identity_keys.add_identity_key(kid, name, most=LIVE_AT_ONCE):
            raise StartError(f"{name} has {LIVE_AT_ONCE} live identity keys already: retire one first.")
        return IdentityKey(kid, name), self._secret_of(kid)

    async def all(self) -> Sequence[IdentityKey]:
        """Every identity key that was ever made, the oldest first."""
        return await self._store.identity_keys.all_identity_keys()

    async def retire(self, which: str) -> Sequence[IdentityKey]:
        """Take no more what the identity keys with this id or name have signed; which ones that were."""
        return await self._store.identity_keys.retire_identity_keys(which)

    def _secret_of(self, kid: str) -> str:
        derived = hmac.digest(self._secret.encode(), kid.encode(), hashlib.sha256)
        return SECRET_PREFIX + base64.urlsafe_b64encode(derived).decode().rstrip("=")


@contextlib.asynccontextmanager
async def open_keys(settings: Settings) -> AsyncIterator[tuple[ApiKeys, Identities]]:
    """The keys alone, for whoever makes, revokes and retires them. Raises StartError."""
    database_url = settings.database_url.get_secret_value()
    async with Store.open(
        database_url, on_notification=lambda _: None, lease_seconds=settings.lease_seconds, erase_after=0
    ) as store:
        keys = ApiKeys(store, configured_keys(settings.api_keys.get_secret_value()))
        yield keys, Identities(store, keys, settings.identity_secret.get_secret_value())


def digest_of_person(subject: str) -> str:
    """What a person is known by here, in place of what their website calls them. Raises InvalidIdentity.

    128 bits in hexadecimal.
    """
    try:
        return hashlib.sha256(subject.encode()).hexdigest()[:32]
    except UnicodeEncodeError:  # half a character
        raise InvalidIdentity("its sub is no text") from None


_REASONS = {
    "InvalidSignatureError": "its signature is not that of its kid",
    "InvalidAlgorithmError": f"it is not signed with {ALGORITHM}",
    "MissingRequiredClaimError": "it has not all of sub, exp and aud",
    "InvalidAudienceError": "its aud is neither the API key's name nor one of its origins",
    "InvalidSubjectError": "its sub is not a string",
    "ImmatureSignatureError": "it begins in the future",
}


def _check_life(claims: Mapping[str, Any]) -> None:
    now = time.time()
    ends, begins = claims["exp"], claims.get("iat", now)
    if not all(isinstance(each, int | float) for each in (ends, begins)):
        raise InvalidIdentity("its exp or iat is not a number")
    if ends > min(begins, now) + LONGEST_LIFE_SECONDS + LEEWAY_SECONDS:
        raise InvalidIdentity(f"its exp is more than {LONGEST_LIFE_SECONDS} seconds ahead, or after its iat")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not 0 < len(subject) <= LONGEST_SUBJECT:
        raise InvalidIdentity(f"its sub has not 1 to {LONGEST_SUBJECT} characters")
    return subject
