"""What can be wrong with settings, database and language model. `bob doctor` looks for all of it, a start for some."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import shlex
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from core.api_keys import configured_keys
from core.assistants import Assistants
from core.bootstrap import language_model_of, load_assistants, load_passwords, unique_models
from core.errors import StartError
from core.findings import Check, Finding, Kind, News, NotChecked, Surroundings
from core.language_model import LanguageModel, ModelTrouble, TroubleKind
from core.password import Kind as KindOfPassword
from core.process import is_exposed, is_loopback
from core.settings import ENV_FILE, Settings, SettingsModel, env_file_encoding
from core.store.condition import (
    Condition,
    Damaged,
    NotReached,
    NotUTF8,
    TooNew,
    Unusable,
    Unwritable,
    condition_of,
    disk_of,
)
from core.store.database import database_files
from core.store.guesses import MOST_WRONG_WORDS

UNUSABLE = Kind("settings.unusable", "error", stops=True)
UNKNOWN_NAME = Kind("settings.unknown-name", "warning")
NOT_FROM_A_FILE = Kind("settings.not-from-file", "warning")
READABLE = Kind("settings.readable-by-others", "warning")
DEFAULT_PASSWORD = Kind("settings.default-password", "warning")
PIN = Kind("settings.pin", "info")
OFFLINE = Kind("model.offline", "warning")
MODEL_NOT_USED = Kind("model.not-used", "warning")
KEY_NOT_SENT = Kind("model.key-not-sent", "warning")
API_OPEN = Kind("web.open", "warning")
NO_KEYS = Kind("web.no-keys", "error")
ANY_HOST = Kind("web.any-host", "warning")
ANY_ORIGIN = Kind("web.any-origin", "warning")
NETWORK_DISK = Kind("database.network-disk", "error")
DISK_LOW = Kind("database.disk-low", "warning")
DATABASE_UNREACHABLE = Kind("database.unreachable", "error", stops=True)
DATABASE_UNWRITABLE = Kind("database.unwritable", "error", stops=True)
DATABASE_DAMAGED = Kind("database.damaged", "error", stops=True)
DATABASE_TOO_NEW = Kind("database.too-new", "error", stops=True)
DATABASE_ENCODING = Kind("database.not-utf8", "error", stops=True)
POOLED = Kind("database.pooled", "error")
CLOCKS_DIFFER = Kind("database.clocks-differ", "warning")
TURNS_STUCK = Kind("database.turns-stuck", "warning")
OUT_OF_REACH = Kind("database.erasures-out-of-reach", "warning")
KEY_REFUSED = Kind("model.key-refused", "error")
MODEL_UNKNOWN = Kind("model.unknown", "error")
QUOTA = Kind("model.out-of-quota", "error")
MODEL_UNREACHABLE = Kind("model.unreachable", "error")
MODEL_FAILS = Kind("model.fails", "error")
MODEL_BUSY = Kind("model.busy", "warning")
NO_CONVERSATIONS = Kind("model.no-conversations", "error")
SHUTS_DOWN = Kind("model.shuts-down", "warning")
SHUT_DOWN_SOON = Kind("model.shuts-down-soon", "error")

SECONDS_BETWEEN_CLOCKS = 30.0
LEAST_FREE_BYTES = 200_000_000
DAYS_AHEAD, DAYS_SOON = 90, 14

# What the HTTP clients read of the environment, but not of `.env`.
OF_THE_ENVIRONMENT = frozenset(
    {
        "HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
        "CURL_CA_BUNDLE",
    }
)  # fmt: skip

_OF_TROUBLE = {
    TroubleKind.KEY_REFUSED: KEY_REFUSED,
    TroubleKind.MODEL_UNKNOWN: MODEL_UNKNOWN,
    TroubleKind.OUT_OF_QUOTA: QUOTA,
    TroubleKind.OUT_OF_QUOTA_UNWRITTEN: QUOTA,
    TroubleKind.NOT_REACHED: MODEL_UNREACHABLE,
    TroubleKind.RATE_LIMITED: MODEL_BUSY,
}


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def start_warnings(settings: Settings, *, serving: bool, models: Iterable[type[SettingsModel]] = ()) -> Iterator[str]:
    """What its operator should know about these settings; `serving`: others can reach it. Raises StartError.

    With the `models` of all settings that there are, names in `.env` that are none are told too.
    """
    for finding in findings_in_settings(settings, models):
        yield str(finding)
    for finding in findings_on_the_disk(settings):
        yield str(finding)
    if serving:
        for finding in findings_in_serving(settings):
            yield str(finding)


def findings_in_settings(settings: Settings, models: Iterable[type[SettingsModel]] = ()) -> Iterator[Finding]:
    """What is wrong with settings for whoever uses them. Raises StartError where they cannot be used."""
    if settings.offline:
        yield OFFLINE(
            "OFFLINE STAND-IN: no language model is set, so answers only repeat what was said.",
            "Set OPENAI_API_KEY or OPENAI_BASE_URL.",
        )
    if settings.openai_model and settings.assistants_file is not None:
        yield MODEL_NOT_USED(
            "OPENAI_MODEL is not used: the assistants of ASSISTANTS_FILE name their own models.",
            "Name the model there, and leave OPENAI_MODEL empty.",
        )
    if settings.openai_api_key.get_secret_value() and "@" in settings.openai_base_url:
        yield KEY_NOT_SENT(
            "OPENAI_BASE_URL holds a user and a password, which are sent instead of OPENAI_API_KEY.",
            "Leave one of them out.",
        )
    assistants = load_assistants(settings)
    for password in load_passwords(settings, assistants):
        if password.kind is KindOfPassword.PUBLISHED:
            yield DEFAULT_PASSWORD(
                f"{password.name} is the published default, which protects nothing.",
                "Set your own (`bob password` makes one), or set it empty.",
            )
        elif password.kind is KindOfPassword.PIN:
            yield PIN(
                f"{password.name} is a PIN, so words of {password.length} digits are guesses: a person has "
                f"{MOST_WRONG_WORDS} an hour, and what holds more is not read.",
                "`bob password` makes a strong one, which needs no bound.",
            )
    if readable := [shlex.quote(path) for path in _readable_by_others(settings)]:
        yield READABLE(f"Others on this machine can read {' and '.join(readable)}:", f"chmod 600 {' '.join(readable)}")
    yield from _strange_names([type(settings), *models], assistants) if models else ()


def _strange_names(models: Sequence[type[SettingsModel]], assistants: Assistants) -> Iterator[Finding]:
    """The names in `.env` that set nothing."""
    if not ENV_FILE.is_file():  # a pipe can be read only once
        return
    known = {name for model in models for name in names_of(model)}
    known |= {each.password_from for each in assistants if each.password_from}
    for written in dotenv_values(ENV_FILE, encoding=env_file_encoding()):
        name = written.upper()
        if name in OF_THE_ENVIRONMENT:
            yield NOT_FROM_A_FILE(f"{name} in .env is not read there.", f"Set it in the environment: export {name}=…")
        elif name not in known:
            nearest = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.8)
            cure = f"Write {nearest[0]}." if nearest else "Take it out; .env.example has all names there are."
            yield UNKNOWN_NAME(f"{written} in .env sets nothing: there is no such setting.", cure)


def names_of(model: type[SettingsModel]) -> Iterator[str]:
    """What the settings of a model are called in the environment, with former names."""
    for name, field in model.model_fields.items():
        aliases = getattr(field.validation_alias, "choices", [field.validation_alias or name])
        yield from (str(each).upper() for each in aliases)


def findings_on_the_disk(settings: Settings) -> Iterator[Finding]:
    """What is wrong with the disk that SQLite's file is on."""
    disk = disk_of(settings.database_url.get_secret_value())
    if disk is None:
        return
    file = shlex.quote(_from_here(disk.file))
    if disk.network_filesystem:
        yield NETWORK_DISK(
            f"{file} is on a disk of another machine ({disk.network_filesystem}), where SQLite loses data.",
            "Let DATABASE_URL name a file on a local disk, or a PostgreSQL.",
        )
    if disk.free_bytes < LEAST_FREE_BYTES:
        yield DISK_LOW(
            f"The disk of {file} has {disk.free_bytes // 1_000_000} MB left.", "Make room there, or move the database."
        )


def findings_in_serving(settings: Settings, *, has_keys: bool | None = None) -> Iterator[Finding]:
    """What is wrong with settings where others can reach Bob; `has_keys`: there are keys in the database, if known."""
    is_public = bool(settings.public_url) and not is_loopback(urlsplit(settings.public_url).hostname or "")
    is_open = not settings.api_keys.get_secret_value() and not has_keys
    needs_keys = not settings.allow_anonymous and not is_loopback(settings.host)
    if is_open and needs_keys and has_keys is not None:  # where it is not known, `check_who_may_ask` sees to it
        yield NO_KEYS(
            f"{settings.host} is reached from other machines, and no key is needed to ask: so Bob does not start.",
            "Make one with `bob keys new NAME`, set API_KEYS, or set ALLOW_ANONYMOUS=true if anybody may ask.",
        )
    elif is_open and not needs_keys and (is_public or is_exposed(settings)):
        where = settings.public_url if is_public else settings.host
        yield API_OPEN(
            f"Without a key anybody who reaches {where} can ask.",
            "Make one with `bob keys new NAME`, or set API_KEYS.",
        )
    if not settings.allowed_hosts and is_exposed(settings):
        yield ANY_HOST(
            "ALLOWED_HOSTS is not set, so Bob answers to any host name.", "Set it to the names that he is reached by."
        )
    if settings.cors_allow_credentials and "*" in settings.cors_allow_origins:
        yield ANY_ORIGIN(
            "CORS_ALLOW_CREDENTIALS with any origin lets every website act with its visitors' cookies.",
            "List your own in CORS_ALLOW_ORIGINS.",
        )


def _readable_by_others(settings: Settings) -> Iterator[str]:
    """The files with secrets or conversations that not only their owner can read."""
    for path in (ENV_FILE.absolute(), *database_files(settings.database_url.get_secret_value())):
        with contextlib.suppress(OSError):
            if path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
                yield _from_here(path)


def _from_here(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


# ── checks ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def core_checks(settings: Settings, models: Sequence[type[SettingsModel]]) -> Sequence[Check]:
    """What is looked for whatever the surfaces are; `models` are those of all settings."""
    if not settings.offline:
        import core.openai_model  # noqa: F401  # here, so that no look has less time for it

    async def of_settings(_: Surroundings) -> Iterable[News]:
        try:
            configured_keys(settings.api_keys.get_secret_value())
            await _scope_of(settings)
            return list(findings_in_settings(settings, models))
        except StartError as error:
            return [unusable(error)]

    async def of_database(surroundings: Surroundings) -> Iterable[News]:
        return await _of_database(settings, surroundings)

    async def of_model(_: Surroundings) -> Iterable[News]:
        return await _of_model(settings)

    async def of_shutdown(surroundings: Surroundings) -> Iterable[News]:
        return await _of_shutdown(settings, surroundings)

    settings_kinds = (
        UNUSABLE, UNKNOWN_NAME, NOT_FROM_A_FILE, READABLE, DEFAULT_PASSWORD, PIN, OFFLINE, MODEL_NOT_USED, KEY_NOT_SENT,
    )  # fmt: skip
    database_kinds = (
        NETWORK_DISK, DISK_LOW, DATABASE_UNREACHABLE, DATABASE_UNWRITABLE, DATABASE_DAMAGED, DATABASE_TOO_NEW,
        DATABASE_ENCODING, POOLED, CLOCKS_DIFFER, TURNS_STUCK, OUT_OF_REACH, API_OPEN, NO_KEYS, ANY_HOST, ANY_ORIGIN,
    )  # fmt: skip
    model_kinds = (*set(_OF_TROUBLE.values()), MODEL_FAILS, NO_CONVERSATIONS)
    silent_database = DATABASE_UNREACHABLE("The database says nothing.", _CURE_OF_THE_DATABASE)
    return [
        Check("settings", settings_kinds, of_settings),
        Check("database", database_kinds, of_database, silent_database),
        Check("model", model_kinds, of_model, _silent_model(settings), needs_network=True),
        Check("model.shutdown", (SHUTS_DOWN, SHUT_DOWN_SOON), of_shutdown),
    ]


def unusable(error: StartError) -> Finding:
    """That nothing can begin with these settings."""
    return UNUSABLE(str(error), "Correct it in .env, or in the environment, which goes before it.")


_CURE_OF_THE_DATABASE = "See whether it runs, and whether DATABASE_URL is right."


def _has_a_file(settings: Settings) -> bool:
    return bool(database_files(settings.database_url.get_secret_value()))


async def _of_database(settings: Settings, surroundings: Surroundings) -> Iterable[News]:
    """How the database fares; and whether the API is open, which the keys in there tell."""
    news: list[News] = list(findings_on_the_disk(settings))
    condition = None
    if surroundings.offline and not _has_a_file(settings):
        news.append(NotChecked("database", "offline"))
    else:
        url, scope = settings.database_url.get_secret_value(), await _scope_of(settings)
        try:
            condition = await asyncio.to_thread(condition_of, url, scope=scope, seconds=surroundings.seconds * 0.75)
        except Unusable as trouble:
            news.append(_about_trouble(trouble))
    if condition is None:  # then nobody knows whether there are keys
        is_open = settings.api_keys.get_secret_value() == ""
        news += [NotChecked("whether the API is open", "keys may be in the database")] if is_open else []
    else:
        news += _about(condition)
    return [*news, *findings_in_serving(settings, has_keys=condition is None or condition.has_keys)]


async def _scope_of(settings: Settings) -> str:
    model = language_model_of(settings)
    try:
        return model.scope
    finally:
        await model.close()


def _about_trouble(trouble: Unusable) -> Finding:
    match trouble:
        case Unwritable():
            return DATABASE_UNWRITABLE(
                f"The database takes no writes: {trouble}.", "Give Bob's user the right to write there, and room."
            )
        case Damaged():
            return DATABASE_DAMAGED(
                "The database's file is damaged, or is none of Bob's.",
                "Set DATABASE_URL to a new file, and restore your last backup: `bob restore FILE`.",
            )
        case TooNew():
            return DATABASE_TOO_NEW("A newer version of Bob made the database.", "Upgrade this one.")
        case NotUTF8():
            return DATABASE_ENCODING(
                f"The database is encoded in {trouble}, which cannot hold all that people write.",
                "Make one with ENCODING 'UTF8' TEMPLATE template0; `bob backup` and `bob restore` take the rest along.",
            )
        case NotReached():
            return DATABASE_UNREACHABLE(f"The database cannot be used: {trouble}.", _CURE_OF_THE_DATABASE)
    raise trouble


def _about(condition: Condition) -> Iterator[News]:
    if condition.is_pooled:
        yield POOLED(
            "DATABASE_URL leads through a pooler that changes PostgreSQL's process with each transaction, which loses "
            "locks and LISTEN.",
            "Connect directly, or let it pool by session (PgBouncer: pool_mode = session).",
        )
    if abs(condition.clock_ahead_seconds) > SECONDS_BETWEEN_CLOCKS:
        ahead = condition.clock_ahead_seconds
        yield CLOCKS_DIFFER(
            f"PostgreSQL's clock is {abs(ahead):.0f} seconds {'ahead of' if ahead > 0 else 'behind'} this machine's.",
            "Set both by NTP (`timedatectl set-ntp true`).",
        )
    if condition.stuck_turns:
        many = f"{condition.stuck_turns:,} question{'s have' if condition.stuck_turns > 1 else ' has'}"
        yield TURNS_STUCK(
            f"{many} waited for more than ten minutes, the oldest for {_long(condition.oldest_stuck_seconds)}.",
            "Start Bob (`bob run`) where he does not run; else his log says what he waits for.",
        )
    if condition.erasures_out_of_reach:
        yield OUT_OF_REACH(
            f"{condition.erasures_out_of_reach:,} forgotten conversations are still kept under another key or server.",
            "Run Bob with that OPENAI_API_KEY or OPENAI_BASE_URL for a while; he erases them then.",
        )
    if not condition.is_examined_whole:
        yield NotChecked("whether all of the database's file is whole", "it is too large for the time there is")


def _long(seconds: float) -> str:
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.0f} hours" if seconds < 2 * 86_400 else f"{seconds / 86_400:.0f} days"


async def _of_model(settings: Settings) -> Iterable[News]:
    """Ask for a word as any question asks, of each model; and make a conversation, and erase it."""
    if settings.offline:
        return [NotChecked("model", "none is set")]
    async with _model_for(settings) as (model, assistants):
        news = [each async for each in _asked(model, assistants, settings)]
        if not news and settings.threads == "conversations" and model.conversations is not None:
            try:
                conversation = await model.conversations.open("doctor")
                await model.conversations.erase(conversation, ())
            except ModelTrouble as trouble:
                news.append(_about_conversations(trouble, settings, assistants.default.model))
        return news


def _about_conversations(trouble: ModelTrouble, settings: Settings, model: str) -> Finding:
    from core.openai_model.advice import advice_on

    if trouble.kind in _OF_TROUBLE:
        advice = advice_on(trouble, settings, model)
        return _OF_TROUBLE[trouble.kind](advice.sentence, advice.cure)
    sentence = f"The language model's server keeps no conversations ({trouble.cause})."
    return NO_CONVERSATIONS(sentence, "Set OPENAI_THREADS=local.")


async def _asked(model: LanguageModel, assistants: Assistants, settings: Settings) -> AsyncIterator[Finding]:
    from core.openai_model.advice import advice_on

    for assistant in unique_models(assistants):
        try:
            await model.check(assistant)
        except ModelTrouble as trouble:
            advice = advice_on(trouble, settings, assistant.model)
            yield _OF_TROUBLE.get(trouble.kind, MODEL_FAILS)(advice.sentence, advice.cure)
            if trouble.handling.blames != "model":  # then the next one will say the same
                return


async def _of_shutdown(settings: Settings, surroundings: Surroundings) -> Iterable[News]:
    """When the models of the assistants end."""
    if settings.offline:
        return []
    async with _model_for(settings) as (model, assistants):
        names = [each.model for each in unique_models(assistants)]
        dates = await model.shutdown_dates(names, offline=surroundings.offline)
    news: list[News] = []
    setting = "ASSISTANTS_FILE" if settings.assistants_file is not None else "OPENAI_MODEL"
    for name, date in sorted(dates.items(), key=lambda each: each[1]):
        left = date - surroundings.now.date()
        if left > timedelta(days=DAYS_AHEAD):
            continue
        kind = SHUT_DOWN_SOON if left <= timedelta(days=DAYS_SOON) else SHUTS_DOWN
        when = "was shut down" if left.days < 0 else "is shut down"
        news.append(kind(f"The model {name} {when} on {date.isoformat()}.", f"Name another one in {setting}."))
    return news


@contextlib.asynccontextmanager
async def _model_for(settings: Settings) -> AsyncIterator[tuple[LanguageModel, Assistants]]:
    """The language model and the assistants of these settings."""
    assistants = load_assistants(settings)
    model = language_model_of(settings)
    try:
        yield model, assistants
    finally:
        await model.close()


def _silent_model(settings: Settings) -> Finding:
    return MODEL_UNREACHABLE(
        f"{settings.model_server} says nothing for now; its model may still be loading.",
        "Look again with more time, `bob doctor --seconds 30`; then see whether OPENAI_BASE_URL is right.",
    )
