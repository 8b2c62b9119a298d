"""What keeps Bob from being heard in Slack, or from answering there."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http import HTTPStatus

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.slack.api import BAD_TOKEN, PASSING
from bots.slack.manifest import lacking
from bots.slack.settings import PATH, SlackSettings
from bots.slack.tokens import APP_TOKEN, BOT_TOKEN, app_of, kind_of_secret
from core import Check, Finding, Kind, News, NotChecked, SettingsError, Surroundings

OFF = Kind("slack.off", "warning")
NO_TRANSPORT = Kind("slack.no-transport", "error", stops=True)
TOKENS_SWAPPED = Kind("slack.tokens-swapped", "error", stops=True)
WRONG_TOKEN = Kind("slack.wrong-kind-of-token", "error", stops=True)
UNREACHABLE = Kind("slack.unreachable", "error")
BOT_TOKEN_REFUSED = Kind("slack.bot-token-refused", "error", stops=True)
APP_TOKEN_REFUSED = Kind("slack.app-token-refused", "error", stops=True)
SCOPES_MISSING = Kind("slack.scopes-missing", "error")
APP_TOKEN_SCOPE = Kind("slack.app-token-scope", "error")
NO_SOCKET_MODE = Kind("slack.no-socket-mode", "error")
TWO_APPS = Kind("slack.tokens-of-two-apps", "error")
CLOCKS_DIFFER = Kind("slack.clocks-differ", "error")
EVENTS_UNREACHABLE = Kind("slack.events-unreachable", "error")
SIGNATURE_REFUSED = Kind("slack.signature-refused", "error")
FORGERY_ACCEPTED = Kind("slack.forgery-accepted", "error")

MOST_BYTES = 10_000
MOST_SECONDS_BETWEEN_CLOCKS = 120.0  # of the 300 that a signature is good for
LIMITED = ("ratelimited", "rate_limited")
_WHERE = {
    BOT_TOKEN: "OAuth & Permissions of its page on api.slack.com/apps",
    APP_TOKEN: "Basic Information, App-Level Tokens",
}
_MEANS = {
    "account_inactive": "the app was taken out of the workspace, or whoever installed it left",
    "token_revoked": "it was revoked",
    "token_expired": "it has expired",
    "not_allowed_token_type": "it is a token of another kind",
}


def slack_checks(settings: SlackSettings) -> Sequence[Check]:
    """What is looked for with these settings."""
    server = settings.slack_api_url.partition("://")[2].partition("/")[0]
    silent = UNREACHABLE(f"Slack says nothing at {server}.", "See whether the network leads there.")

    async def of_settings(_: Surroundings) -> Iterable[News]:
        return list(findings_in_settings(settings))

    checks = [
        Check("slack.settings", (OFF, NO_TRANSPORT, TOKENS_SWAPPED, WRONG_TOKEN), of_settings, at_start=True),
        Check(
            "slack.app",
            (
                UNREACHABLE, BOT_TOKEN_REFUSED, APP_TOKEN_REFUSED, SCOPES_MISSING, APP_TOKEN_SCOPE, NO_SOCKET_MODE,
                CLOCKS_DIFFER, TWO_APPS,
            ),
            partial(_of_app, settings, silent), silent, needs_network=True, at_start=True,
        ),
    ]  # fmt: skip
    if settings.slack_signing_secret.get_secret_value() and not settings.slack_app_token.get_secret_value():
        kinds = (EVENTS_UNREACHABLE, SIGNATURE_REFUSED, FORGERY_ACCEPTED)
        late = EVENTS_UNREACHABLE(f"Bob says nothing at {PATH}.", "See whether `bob run` runs, and whether it is busy.")
        checks.append(Check("slack.events", kinds, partial(_of_events, settings), late, needs_network=True))
    return checks


def findings_in_settings(settings: SlackSettings) -> Iterator[Finding]:
    """What the tokens themselves tell."""
    bot, app = settings.slack_bot_token.get_secret_value(), settings.slack_app_token.get_secret_value()
    secret = settings.slack_signing_secret.get_secret_value()
    if not bot:
        if app or secret:
            beside = "SLACK_APP_TOKEN" if app else "SLACK_SIGNING_SECRET"
            where = f"Set it to what stands in {_WHERE[BOT_TOKEN]}."
            yield OFF(f"{beside} is set and SLACK_BOT_TOKEN is not, so Slack is not served.", where)
        return
    kinds = kind_of_secret(bot), kind_of_secret(app)
    if kinds == (APP_TOKEN, BOT_TOKEN):
        yield TOKENS_SWAPPED("SLACK_BOT_TOKEN and SLACK_APP_TOKEN are in each other's place.", "Swap their values.")
        return
    for name, wanted, kind in (("SLACK_BOT_TOKEN", BOT_TOKEN, kinds[0]), ("SLACK_APP_TOKEN", APP_TOKEN, kinds[1])):
        if kind not in (wanted, ""):
            yield WRONG_TOKEN(
                f"{name} is {kind}, and no {wanted.partition(' ')[2]}.", f"Set it to what stands in {_WHERE[wanted]}."
            )
    if not secret.isascii() or kind_of_secret(secret) in (BOT_TOKEN, APP_TOKEN):
        yield WRONG_TOKEN(
            "SLACK_SIGNING_SECRET is no signing secret.", "Set it to what stands in Basic Information, App Credentials."
        )
    try:
        _ = settings.transport
    except SettingsError as error:
        yield NO_TRANSPORT(str(error), f"Set SLACK_APP_TOKEN to what stands in {_WHERE[APP_TOKEN]}.")


# ── the app ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _of_app(settings: SlackSettings, silent: Finding, surroundings: Surroundings) -> Iterable[News]:
    """The tokens, what they may do, and whether Slack connects."""
    if any(each.kind.stops for each in findings_in_settings(settings)):
        return [NotChecked("slack.app", "its tokens are not what they have to be")]
    client = AsyncWebClient(
        token=settings.slack_bot_token.get_secret_value(), base_url=settings.slack_api_url, retry_handlers=[]
    )
    try:
        return [each async for each in _asked(settings, client, surroundings.now)]
    except (OSError, aiohttp.ClientError):
        return [silent]


async def _asked(settings: SlackSettings, client: AsyncWebClient, now: datetime) -> AsyncIterator[News]:
    about = await _answered(client.auth_test())
    if isinstance(about, str):
        cure = f"Install the app anew, and set the token that {_WHERE[BOT_TOKEN]} shows."
        yield _refused(about, BOT_TOKEN_REFUSED, "SLACK_BOT_TOKEN", cure)
        return
    headers = {name.lower(): value for name, value in about.headers.items()}
    granted = frozenset(headers.get("x-oauth-scopes", "").replace(" ", "").split(","))
    if "x-oauth-scopes" not in headers:
        yield NotChecked("the scopes of the app", "what answers in Slack's place does not tell them")
    elif missing := lacking(granted):
        yield SCOPES_MISSING(
            f"The app lacks scopes of its manifest: {', '.join(sorted(missing))}.",
            "Paste bots/slack/manifest.json into App Manifest on its page, save, and install it anew.",
        )
    if settings.transport != "socket":
        if (seconds := _seconds_between(headers.get("date", ""), now)) > MOST_SECONDS_BETWEEN_CLOCKS:
            yield CLOCKS_DIFFER(
                f"This machine's clock and Slack's differ by {seconds:.0f} seconds, so what Slack signs is refused as "
                "too old or too new.",
                "Set it by NTP (`timedatectl set-ntp true`).",
            )
        return
    app_token = settings.slack_app_token.get_secret_value()
    opened = await _answered(client.apps_connections_open(app_token=app_token))
    if isinstance(opened, str):
        yield _about_socket(opened)
        return
    if app_of(app_token) and about.get("bot_id"):
        bot = await _answered(client.bots_info(bot=about["bot_id"]))
        theirs = "" if isinstance(bot, str) else str((bot.get("bot") or {}).get("app_id") or "")
        if theirs and theirs != app_of(app_token):
            yield TWO_APPS(
                f"SLACK_BOT_TOKEN is of the app {theirs} and SLACK_APP_TOKEN of {app_of(app_token)}, so nothing "
                "that is said to the one is heard.",
                "Take both tokens from the page of one app.",
            )


def _seconds_between(date: str, now: datetime) -> float:
    """How far our clock is from one that says this `Date`; nothing where it says none."""
    try:
        return abs((now - parsedate_to_datetime(date)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


async def _answered(call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse | str:
    """What Slack answers, or with which error it refuses; "" stands for an answer that is none of Slack's."""
    try:
        return await call
    except SlackApiError as refusal:
        response = refusal.response
        data = response.data if isinstance(response, AsyncSlackResponse) else None
        return str(data.get("error") or "") if isinstance(data, dict) else ""


def _refused(error: str, kind: Kind, name: str, cure: str) -> News:
    if error in BAD_TOKEN:
        means = f": {_MEANS[error]}" if error in _MEANS else ""
        return kind(f"Slack refuses {name}{means}.", cure)
    if error in LIMITED or error in PASSING:
        return NotChecked("slack.app", f"Slack answers with {error}")
    return UNREACHABLE(
        f"Slack answers with {error or 'something else than JSON'}.",
        "See whether SLACK_API_URL and the network are right.",
    )


def _about_socket(error: str) -> News:
    if error in BAD_TOKEN or error in LIMITED or error in PASSING or not error:
        return _refused(error, APP_TOKEN_REFUSED, "SLACK_APP_TOKEN", f"Generate one in {_WHERE[APP_TOKEN]}.")
    if error == "missing_scope":
        return APP_TOKEN_SCOPE(
            "SLACK_APP_TOKEN lacks the scope connections:write.", f"Generate one with it in {_WHERE[APP_TOKEN]}."
        )
    return NO_SOCKET_MODE(
        f"Slack opens no connection for Socket Mode ({error}).", "Switch on Socket Mode on the app's page."
    )


# ── what Slack delivers over HTTP ────────────────────────────────────────────────────────────────────────────────────


async def _of_events(settings: SlackSettings, surroundings: Surroundings) -> Iterable[News]:
    """Whether the Bob at our own address takes what Slack signs, and nothing else."""
    url = f"{surroundings.address}{PATH}"
    where = [] if surroundings.is_public else [NotChecked("whether Slack reaches Bob", "PUBLIC_URL is not set")]
    try:
        async with aiohttp.ClientSession(trust_env=surroundings.is_public) as session:
            secret = settings.slack_signing_secret.get_secret_value()
            status, answered = await _challenged(session, url, secret)
            forged, _ = await _challenged(session, url, secrets.token_hex(16))
    except aiohttp.ClientError:
        if surroundings.is_public:  # which is told once, for all that is there
            return [NotChecked("slack.events", "Bob is not reached")]
        return [EVENTS_UNREACHABLE(f"Nobody answers at {url}.", "Start Bob there: `bob run`."), *where]
    if status == HTTPStatus.UNAUTHORIZED:
        return [
            SIGNATURE_REFUSED(
                f"The Bob at {url} refuses what is signed with SLACK_SIGNING_SECRET.",
                "Start him anew with this secret, and let no proxy change what Slack sends.",
            )
        ]  # fmt: skip
    if surroundings.is_public and not answered and status in (400, 502, 503, 504):
        return [NotChecked("slack.events", "Bob is not reached")]
    if not answered:
        return [
            EVENTS_UNREACHABLE(
                f"What answers at {url} does so with HTTP {status}, and not as Bob does.",
                "See whether PUBLIC_URL leads to him, and whether `bob run` was started with SLACK_SIGNING_SECRET.",
            )
        ]  # fmt: skip
    if forged != HTTPStatus.UNAUTHORIZED:
        return [
            FORGERY_ACCEPTED(
                f"What answers at {url} takes what Slack did not sign.",
                "Let the proxy hand on all of it to Bob, and answer nothing by itself.",
            )
        ]  # fmt: skip
    return where


async def _challenged(session: aiohttp.ClientSession, url: str, secret: str) -> tuple[int, bool]:
    """How a challenge as of Slack's, signed with a secret, is answered, and whether it is as it should be."""
    challenge = secrets.token_hex(16)
    body = json.dumps({"type": "url_verification", "token": "-", "challenge": challenge})
    timestamp = str(int(time.time()))
    signature = SignatureVerifier(secret).generate_signature(timestamp=timestamp, body=body)
    headers = {
        "Content-Type": "application/json", "X-Slack-Request-Timestamp": timestamp,
        "X-Slack-Signature": str(signature),
    }  # fmt: skip
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
        text = (await response.content.read(MOST_BYTES)).decode("utf-8", "replace")
        return response.status, response.status == HTTPStatus.OK and challenge in text
