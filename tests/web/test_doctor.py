"""`bob doctor` finds each fault of an installation, with its cure, and finds no fault where there is none."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import psycopg
import pytest
import sqlalchemy as sa

from core import Check, Finding, Kind, Report, Surroundings, examine, examined
from core.store import condition
from tests.acceptance.processes import Nursery, command, free_port
from tests.fakes.openai_api import Status
from tests.web.installation import (
    Installation,
    closed_port,
    installation,
    server_that_answers,
    server_that_echoes,
    silent_server,
    transaction_pooler,
)
from web.doctor import as_text

ROOT = Path(__file__).parents[2]

Change = Callable[[Installation], object]

STARTED = "INSERT INTO chat_session (id, name, surface, turns, begins, created_at) VALUES (1, 's', 'web', 1, 1, 0)"
TURN = (
    "INSERT INTO turn (id, session_id, number, surface, question, assistant, private, fencing_token, attempts, stop, "
    "accepted_at) VALUES ('t', 1, 1, 'web', 'q', 'Bob', 0, 1, 0, 0, ?)"
)


@pytest.fixture
def bob(tmp_path: Path) -> Iterator[Installation]:
    with installation(tmp_path) as running:
        yield running


def settings(**changes: str) -> Change:
    return lambda bob: bob.settings.update(changes)


def all_of(*changes: Change) -> Change:
    return lambda bob: [change(bob) for change in changes]


def env_file(text: str, mode: int = 0o600) -> Change:
    def change(bob: Installation) -> None:
        bob.env_file, bob.mode = text, mode

    return change


def turn_of(seconds: float) -> Change:
    def change(bob: Installation) -> None:
        bob.write(STARTED)
        bob.write(TURN, time.time() - seconds)

    return change


def swapped(bob: Installation) -> None:
    bot, app = bob.settings["SLACK_BOT_TOKEN"], bob.settings["SLACK_APP_TOKEN"]
    bob.settings |= {"SLACK_BOT_TOKEN": app, "SLACK_APP_TOKEN": bot}


def behind(status: int, body: str = "", **more: str) -> Change:
    """Something else answers at the public address."""

    def change(bob: Installation) -> None:
        port = bob.stack.enter_context(server_that_answers(status, body))
        bob.settings |= {"PUBLIC_URL": f"http://127.0.0.1:{port}", **more}

    return change


def over_http(status: int, body: str = "") -> Change:
    """Something else answers where Slack delivers, on this machine."""

    def change(bob: Installation) -> None:
        port = bob.stack.enter_context(server_that_answers(status, body, is_bob=True))
        del bob.settings["SLACK_APP_TOKEN"]
        bob.settings |= {"SLACK_SIGNING_SECRET": bob.slack.signing_secret, "PORT": str(port)}

    return change


def on_a_network_disk(bob: Installation) -> None:
    mounts = bob.folder / "mounts"
    mounts.write_text(f"36 35 0:31 / {bob.folder} rw - nfs4 nas:/data rw\n22 1 8:1 / / rw - ext4 /dev/sda1 rw\n")
    patch = pytest.MonkeyPatch()
    patch.setattr(condition, "MOUNTS", mounts)
    bob.stack.callback(patch.undo)


def on_a_full_disk(bob: Installation) -> None:
    usage = shutil.disk_usage(bob.folder)
    patch = pytest.MonkeyPatch()
    patch.setattr("core.store.condition.shutil.disk_usage", lambda _: usage._replace(free=10_000_000))
    bob.stack.callback(patch.undo)


def locked(bob: Installation) -> None:
    connection = sqlite3.connect(bob.database, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    bob.stack.callback(connection.close)


def retired(name: str, date: str) -> Change:
    def change(bob: Installation) -> None:
        bob.settings["OPENAI_MODEL"] = name
        bob.openai.listed_models = [{"id": name, "object": "model", "shutdown_date": date}]
        bob.surroundings = {"now": datetime(2026, 12, 1, tzinfo=UTC)}

    return change


def model_fails(status: int, code: str) -> Change:
    def change(bob: Installation) -> None:
        bob.openai.answers_checks = False
        bob.settings["OPENAI_MODEL"] = "one"  # which both assistants have then
        bob.openai.fail("POST", "/responses", Status(status, code), times=None)

    return change


OTHER_APP_TOKEN = "xapp-1-A0OTHER-1-" + "a" * 20
FAULTS: dict[str, tuple[Change, str, str]] = {
    # settings
    "a setting that cannot be used": (settings(PORT="many"), "settings.unusable", "Correct it"),
    "a file of assistants that is not there": (settings(ASSISTANTS_FILE="no.toml"), "settings.unusable", "Correct it"),
    "a name misspelled": (env_file("SLACK_BOT_TOKN=x"), "settings.unknown-name", "Write SLACK_BOT_TOKEN."),
    "a name that is none": (env_file("FAVOURITE=x"), "settings.unknown-name", "Take it out"),
    "a proxy in .env": (env_file("HTTPS_PROXY=http://p:1"), "settings.not-from-file", "export HTTPS_PROXY"),
    ".env for all to read": (env_file("LOG_LEVEL=info", 0o644), "settings.readable-by-others", "chmod 600 .env"),
    "the published password": (settings(PRIVATE_BOB_PASSWORD="973808"), "settings.default-password", "bob password"),
    "a PIN": (settings(PRIVATE_BOB_PASSWORD="471147"), "settings.pin", "bob password"),
    "two models": (
        lambda bob: (
            (bob.folder / "own.toml").write_text('[[assistant]]\nname = "A"\nmodel = "m"\ninstructions = "i"\n'),
            bob.settings.update(ASSISTANTS_FILE="own.toml", OPENAI_MODEL="other"),
        ),
        "model.not-used", "leave OPENAI_MODEL empty",
    ),
    # the database
    "a file of another kind": (lambda bob: bob.database.write_text("x" * 9_000), "database.damaged", "bob restore"),
    "no such folder": (settings(DATABASE_URL="sqlite:///nowhere/bob.db"), "database.unwritable", "right to write"),
    "a database that another keeps locked": (locked, "database.unwritable", "right to write"),
    "a newer schema": (
        lambda bob: bob.write("UPDATE alembic_version SET version_num = '9999'"), "database.too-new", "Upgrade"
    ),
    "a network disk": (on_a_network_disk, "database.network-disk", "local disk"),
    "a full disk": (on_a_full_disk, "database.disk-low", "Make room"),
    "a question that waits": (turn_of(700), "database.turns-stuck", "bob run"),
    "a conversation under another key": (
        lambda bob: bob.write("INSERT INTO erasure VALUES ('conv_1', 'elsewhere', 0, 3)"),
        "database.erasures-out-of-reach", "OPENAI_API_KEY",
    ),
    # the model
    "a wrong key": (model_fails(401, "invalid_api_key"), "model.key-refused", "OPENAI_API_KEY"),
    "no model at all": (
        settings(OPENAI_API_KEY="", OPENAI_BASE_URL="", SLACK_BOT_TOKEN="", SLACK_APP_TOKEN="", DISCORD_TOKEN=""),
        "model.offline", "Set OPENAI_API_KEY",
    ),
    "a surface and no model": (
        settings(OPENAI_API_KEY="", OPENAI_BASE_URL=""), "model.offline settings.unusable", "Set OPENAI_API_KEY",
    ),
    "a stand-in for everybody": (
        settings(
            OPENAI_API_KEY="", OPENAI_BASE_URL="", SLACK_BOT_TOKEN="", SLACK_APP_TOKEN="", DISCORD_TOKEN="",
            HOST="0.0.0.0", ALLOWED_HOSTS="x.example", API_KEYS="a:" + "k" * 20,
        ),
        "model.offline settings.unusable", "Correct it",
    ),
    "a key that can be guessed": (settings(API_KEYS="a:b"), "settings.unusable", "Correct it"),
    "a logo that is not there": (settings(CHAT_PAGE_LOGO="nowhere.png"), "settings.unusable", "Correct it"),
    "a proxy that is none": (  # which Slack's library goes through as well
        settings(HTTP_PROXY="ftp://x", NO_PROXY=""), "settings.unusable slack.unreachable", "Correct it",
    ),
    "a key and a user with a password": (
        lambda bob: bob.settings.update(OPENAI_BASE_URL=bob.openai.base_url.replace("://", "://bob:hunter2hunter2@")),
        "model.key-not-sent model.key-refused", "Leave one of them out",
    ),
    "a server that is busy": (model_fails(429, "rate_limit_exceeded"), "model.busy", "tried again"),
    "a model that refuses": (model_fails(400, "what_is_that"), "model.fails", "Try another one"),
    "no such model": (model_fails(404, "model_not_found"), "model.unknown", "OPENAI_MODEL"),
    "no money": (model_fails(429, "insufficient_quota"), "model.out-of-quota", "Add credit"),
    "a model's server that is away": (lambda bob: bob.openai.stop(), "model.unreachable", "OPENAI_BASE_URL"),
    "a model that ends this week": (retired("gpt-5-mini", "2026-12-11"), "model.shuts-down-soon", "OPENAI_MODEL"),
    "a model that ends this winter": (retired("gpt-4o", "2027-01-14"), "model.shuts-down", "OPENAI_MODEL"),
    "a server without conversations": (
        lambda bob: bob.openai.fail("POST", "/conversations", Status(404, "not_found"), times=None),
        "model.no-conversations", "OPENAI_THREADS=local",
    ),
    # the web
    "an open API": (
        settings(HOST="0.0.0.0", ALLOWED_HOSTS="bob.example", ALLOW_ANONYMOUS="true"), "web.open", "bob keys new"
    ),
    "an address for others without a key": (
        settings(HOST="0.0.0.0", ALLOWED_HOSTS="bob.example"), "web.no-keys", "ALLOW_ANONYMOUS"
    ),
    "any host": (settings(HOST="0.0.0.0", API_KEYS="a:" + "k" * 20), "web.any-host", "Set it"),
    "any origin": (settings(CORS_ALLOW_CREDENTIALS="true"), "web.any-origin", "CORS_ALLOW_ORIGINS"),
    "a public address without anybody": (
        lambda bob: bob.settings.update(PUBLIC_URL=f"http://127.0.0.1:{closed_port()}"),
        "web.unreachable", "Start Bob",
    ),
    "a proxy with nobody behind it": (behind(502), "web.nobody-behind-proxy", "bob run"),
    "a page of somebody else's": (behind(200, "<h1>Hello</h1>"), "web.not-bob", "PUBLIC_URL"),
    "a proxy that changes Host": (
        behind(400, json.dumps({"detail": "Bob does not answer to this host name. ALLOWED_HOSTS lists those he "
                                          "answers to."})),
        "web.host-not-passed-on", "pass Host on",
    ),
    "a host that is not allowed": (
        settings(PUBLIC_URL="http://bob.example", API_KEYS="a:" + "k" * 20, ALLOWED_HOSTS="x.example"),
        "web.host-refused", "Add bob.example",
    ),
    "a proxy that is not trusted": (
        lambda bob: bob.settings.update(
            PUBLIC_URL=f"https://127.0.0.1:{bob.stack.enter_context(server_that_answers(200))}"
        ),
        "web.proxy-untrusted web.certificate", "TRUSTED_PROXIES",
    ),
    # Slack
    "tokens in each other's place": (swapped, "slack.tokens-swapped", "Swap"),
    "a user's token": (settings(SLACK_BOT_TOKEN="xoxp-1-abcdef"), "slack.wrong-kind-of-token", "OAuth & Permissions"),
    "no bot token": (settings(SLACK_BOT_TOKEN=""), "slack.off", "OAuth & Permissions"),
    "no way to be delivered to": (settings(SLACK_APP_TOKEN=""), "slack.no-transport", "SLACK_APP_TOKEN"),
    "a bot token of nobody's": (settings(SLACK_BOT_TOKEN="xoxb-nobody-1"), "slack.bot-token-refused", "Install"),
    "an app that was taken out": (
        lambda bob: setattr(bob.slack, "refusal", "account_inactive"), "slack.bot-token-refused", "Install",
    ),
    "an app token of nobody's": (settings(SLACK_APP_TOKEN="xapp-nobody"), "slack.app-token-refused", "Generate one"),
    "scopes of an older manifest": (
        lambda bob: bob.slack.scopes.difference_update({"files:read", "files:write"}),
        "slack.scopes-missing", "manifest.json",
    ),
    "an app token without its scope": (
        lambda bob: bob.slack.fail("apps.connections.open", "missing_scope"), "slack.app-token-scope", "Generate one",
    ),
    "Socket Mode off": (
        lambda bob: bob.slack.fail("apps.connections.open", "socket_mode_not_enabled"),
        "slack.no-socket-mode", "Switch on Socket Mode",
    ),
    "tokens of two apps": (
        all_of(
            lambda bob: setattr(bob.slack, "app_token", OTHER_APP_TOKEN), settings(SLACK_APP_TOKEN=OTHER_APP_TOKEN)
        ),
        "slack.tokens-of-two-apps", "one app",
    ),
    "a Slack that is away": (lambda bob: bob.slack.stop(), "slack.unreachable", "network"),
    "nobody where Slack delivers": (
        settings(SLACK_APP_TOKEN="", SLACK_SIGNING_SECRET="5" * 32), "slack.events-unreachable", "bob run",
    ),
    "a clock that differs from Slack's": (
        all_of(
            over_http(401), lambda bob: bob.surroundings.update(now=datetime.now(UTC) + timedelta(minutes=10)),
        ),
        "slack.clocks-differ slack.signature-refused", "NTP",
    ),
    "a Bob with another signing secret": (over_http(401), "slack.signature-refused", "with this secret"),
    # Discord
    "a token of nobody's": (settings(DISCORD_TOKEN="0" * 32), "discord.token-refused", "Reset Token"),
    "an intent that is off": (
        settings(DISCORD_MESSAGE_CONTENT="true"), "discord.content-intent-off", "developer portal",
    ),
    "free channels without the intent": (
        settings(DISCORD_FREE_CHANNELS="1100000000000000100"), "discord.free-channels-unread", "MESSAGE_CONTENT=true",
    ),
    "an address for commands": (
        lambda bob: setattr(bob.discord, "interactions_endpoint", "https://elsewhere.example/"),
        "discord.interactions-elsewhere", "Empty Interactions Endpoint URL",
    ),
    "no sessions left": (
        lambda bob: setattr(bob.discord, "session_starts", 0), "discord.no-sessions-left", "Stop whatever",
    ),
    "few sessions left": (
        lambda bob: setattr(bob.discord, "session_starts", 49), "discord.few-sessions-left", "restarts Bob",
    ),
    "no server": (
        all_of(lambda bob: bob.discord.removes_bot("alpha"), lambda bob: bob.discord.removes_bot("beta")),
        "discord.no-servers", "Invite it",
    ),
    "a server that the bot is not in": (
        settings(DISCORD_GUILDS="1100000000000000000 1"), "discord.server-unknown", "Correct it",
    ),
    "a server without rights": (
        lambda bob: bob.discord.takes_everywhere("alpha", "send_messages_in_threads"),
        "discord.server-rights-missing", "invite him anew: https://",
    ),
    "a channel without rights": (
        lambda bob: bob.discord.forbids("help", "send_messages"), "discord.channel-rights-missing", "these rights",
    ),
    "a channel that is hidden": (
        lambda bob: bob.discord.forbids("help", "view_channel"), "discord.channels-hidden", "View Channel",
    ),
    "a channel of the settings that is hidden": (
        all_of(
            lambda bob: setattr(bob.discord, "hides", "null"),
            lambda bob: bob.discord.forbids("help", "view_channel"),
            settings(DISCORD_CHANNELS="1100000000000000101"),
        ),
        "discord.channel-hidden", "View Channel",
    ),
    "a Discord that is away": (lambda bob: bob.discord.stop(), "discord.unreachable", "network"),
}  # fmt: skip


def test_where_nothing_is_wrong_nothing_is_found(bob: Installation) -> None:
    report = bob.reported()
    assert list(report.findings) == []
    assert {each.what for each in report.not_checked} == {"web"}, report.not_checked


@pytest.mark.parametrize(("change", "ids", "cure"), FAULTS.values(), ids=FAULTS)
def test_each_fault_is_found_with_its_cure_and_no_other(bob: Installation, change: Change, ids: str, cure: str) -> None:
    change(bob)
    report = bob.reported()
    assert sorted(each.kind.id for each in report.findings) == sorted(ids.split()), report
    assert any(cure in each.cure for each in report.findings), report.findings
    shown = "\n".join([*as_text(report), json.dumps(report.as_json())])
    assert [secret for secret in bob.secrets if secret in shown] == []


# ── servers that are dead, and such as say nothing ───────────────────────────────────────────────────────────────────

UNREACHABLE = {
    "database.unreachable", "model.unreachable", "slack.unreachable", "discord.unreachable", "web.unreachable",
}  # fmt: skip


def everything_at(bob: Installation, port: int) -> None:
    """Let everything that Bob talks to be on this port."""
    address = f"http://127.0.0.1:{port}"
    bob.settings |= {
        "OPENAI_BASE_URL": f"{address}/v1", "SLACK_API_URL": f"{address}/api/", "DISCORD_API_URL": address,
        "DATABASE_URL": f"postgresql://bob:secret@127.0.0.1:{port}/bob", "PUBLIC_URL": address,
        "API_KEYS": "alice:" + "k" * 20,
    }  # fmt: skip


def test_servers_that_are_dead_are_told_of_one_by_one(bob: Installation) -> None:
    everything_at(bob, closed_port())
    assert {each.kind.id for each in bob.reported().findings} == UNREACHABLE


def test_servers_that_say_nothing_are_waited_for_no_longer_than_each_look_may_take(bob: Installation) -> None:
    """Else this never ended: nothing has a time-out but the looks."""
    with silent_server() as port:
        everything_at(bob, port)
        bob.seconds = 0.5
        assert {each.kind.id for each in bob.reported().findings} == UNREACHABLE


async def test_all_looks_are_taken_at_once_and_each_for_its_own_time() -> None:
    kind, under_way, all_under_way = Kind("a.b", "error"), 0, asyncio.Event()

    async def wait(_: Surroundings) -> list[Finding]:
        nonlocal under_way
        under_way += 1
        if under_way == 5:
            all_under_way.set()
        await all_under_way.wait()
        return []

    async def for_ever(_: Surroundings) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def fails(_: Surroundings) -> list[Finding]:
        raise RuntimeError("a secret")

    silent = kind("It says nothing.", "Wake it.")
    report = await examine([Check(f"{number}", [kind], wait) for number in range(5)], Surroundings(seconds=60.0))
    assert (list(report.findings), list(report.not_checked)) == ([], [])
    checks = [
        Check("silent", [kind], for_ever, silent), Check("late", [kind], for_ever), Check("own", [], fails),
        Check("network", [kind], for_ever, needs_network=True),
    ]  # fmt: skip
    report = await examine(checks, Surroundings(seconds=0.1, offline=True))
    assert list(report.findings) == [silent]
    assert {each.what for each in report.not_checked} == {"late", "own", "network"}
    assert "secret" not in str(report)


def test_what_hangs_in_a_thread_holds_up_no_exit() -> None:
    started = threading.Event()

    def wait_for_ever() -> None:
        started.set()
        threading.Event().wait()

    async def hangs(_: Surroundings) -> list[Finding]:
        await asyncio.to_thread(wait_for_ever)
        return []

    report = examined([Check("disk", [], hangs)], Surroundings(seconds=0.2))
    assert started.wait(60.0)
    assert [each.what for each in report.not_checked] == ["disk"]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "check")


# ── offline ──────────────────────────────────────────────────────────────────────────────────────────────────────────

OFFLINE_TOO = [name for name, (_, ids, _) in FAULTS.items() if re.fullmatch(r"(settings|database)\.\S+", ids)]
OFFLINE_TOO += [
    "a model that ends this week", "an open API", "any host", "any origin", "a host that is not allowed",
    "tokens in each other's place", "a user's token", "no bot token", "no way to be delivered to",
    "free channels without the intent",
]  # fmt: skip


def test_offline_nothing_is_asked_of_anybody_and_all_that_needs_nobody_is_looked_at(bob: Installation) -> None:
    bob.surroundings = {"offline": True}
    report = bob.reported()
    assert list(report.findings) == []
    assert {each.what for each in report.not_checked} == {"model", "web", "slack.app", "discord.app", "discord.servers"}
    assert (bob.slack.calls, bob.discord.calls, bob.openai.requests) == ([], [], [])


@pytest.mark.parametrize("name", OFFLINE_TOO)
def test_faults_that_need_nobody_are_found_offline(bob: Installation, name: str) -> None:
    change, ids, _ = FAULTS[name]
    change(bob)
    if name == "a model that ends this week":
        bob.settings["OPENAI_BASE_URL"] = ""  # OpenAI's own models are known
    bob.surroundings |= {"offline": True}
    assert [each.kind.id for each in bob.reported().findings] == [ids]


def test_a_token_of_another_kind_is_known_offline_as_well(bob: Installation) -> None:
    bob.settings["DISCORD_TOKEN"] = "0" * 32
    bob.surroundings = {"offline": True}
    (finding,) = bob.reported().findings
    assert finding.kind.id == "discord.token-malformed"
    assert "client secret" in finding.sentence


# ── PostgreSQL ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_postgresql_that_fares_well_is_told_nothing_of(bob: Installation, database_url: str) -> None:
    bob.settings["DATABASE_URL"] = database_url
    assert list(bob.reported().findings) == []


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_is_wrong_with_a_postgresql_is_found(bob: Installation, database_url: str) -> None:
    bob.settings["DATABASE_URL"] = database_url
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(STARTED)
        connection.execute(TURN.replace("'t', 1, 1, 'web', 'q', 'Bob', 0, 1, 0, 0, ?", "'t', 1, 1, 'web', 'q', 'Bob', "
                           "false, 1, 0, false, 0"))  # fmt: skip
        assert [each.kind.id for each in bob.reported("database").findings] == ["database.turns-stuck"]
        connection.execute("DELETE FROM turn")
    bob.settings["DATABASE_URL"] = f"{database_url}&options=-cdefault_transaction_read_only%3Don"
    assert [each.kind.id for each in bob.reported("database").findings] == ["database.unwritable"]
    name = sa.make_url(database_url).database or ""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}_ascii ENCODING 'SQL_ASCII' TEMPLATE template0".encode())
    bob.settings["DATABASE_URL"] = database_url.replace(f"/{name}?", f"/{name}_ascii?")
    assert [each.kind.id for each in bob.reported("database").findings] == ["database.not-utf8"]
    bob.settings["DATABASE_URL"] = database_url.replace(f"/{name}?", "/nowhere?")
    (finding,) = bob.reported("database").findings
    assert (finding.kind.id, "no such database" in finding.sentence) == ("database.unreachable", True)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_clock_that_differs_is_found(bob: Installation, database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bob.settings["DATABASE_URL"] = database_url
    monkeypatch.setattr("core.store.condition.time.time", lambda: time.time_ns() / 1e9 - 90.0)
    (finding,) = bob.reported("database").findings
    assert finding.kind.id == "database.clocks-differ"
    assert re.search("90 seconds ahead of", finding.sentence)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_pooler_in_transaction_mode_is_found(bob: Installation, database_url: str) -> None:
    with transaction_pooler(database_url) as pooled:
        bob.settings["DATABASE_URL"] = pooled
        assert [each.kind.id for each in bob.reported("database").findings] == ["database.pooled"]


# ── a Bob that runs ──────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_bob_that_runs_and_is_delivered_to_over_http_is_well(bob: Installation) -> None:
    """And what only a running one can have is found."""
    port = free_port()
    del bob.settings["SLACK_APP_TOKEN"]
    bob.settings |= {
        "SLACK_SIGNING_SECRET": bob.slack.signing_secret, "PORT": str(port), "PUBLIC_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    async with Nursery(bob.folder) as nursery:
        process = await nursery.start(bob.settings)
        await process.served()
        report = await asyncio.to_thread(bob.reported)
        assert (list(report.findings), list(report.not_checked)) == ([], [])
        bob.settings["SLACK_SIGNING_SECRET"] = "6" * 32
        report = await asyncio.to_thread(bob.reported)
        assert [each.kind.id for each in report.findings] == ["slack.signature-refused"]
        process.signal(signal.SIGTERM)
        assert await process.over() == 0
    assert bob.slack.violations == []


def test_a_server_that_takes_what_slack_did_not_sign_is_found(bob: Installation) -> None:
    with server_that_echoes() as port:
        del bob.settings["SLACK_APP_TOKEN"]
        bob.settings |= {"SLACK_SIGNING_SECRET": bob.slack.signing_secret, "PORT": str(port)}
        assert [each.kind.id for each in bob.reported("slack").findings] == ["slack.forgery-accepted"]


# ── how it is told ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_secret_that_gets_into_a_sentence_is_not_shown() -> None:
    kind = Kind("a.b", "error")
    report = Report.of([], [kind("It said hunter2hunter2 and xoxb-1-abc.", "See hunter2hunter2.")], [])
    assert "hunter2" not in str(report.redacted(["hunter2hunter2"]))
    assert "xoxb-1" not in str(report.redacted([]))


def test_only_what_is_asked_for_is_looked_at(bob: Installation) -> None:
    bob.settings |= {"PRIVATE_BOB_PASSWORD": "973808", "SLACK_BOT_TOKEN": "xoxb-nobody-1"}
    assert [each.kind.id for each in bob.reported("slack.bot-token-refused").findings] == ["slack.bot-token-refused"]
    assert bob.reported("discord").checked == ["discord.settings", "discord.app", "discord.servers"]
    with pytest.raises(click.BadParameter):
        bob.reported("nonsense")


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"PRIVATE_BOB_PASSWORD": "471147"}, 0),
        ({"PRIVATE_BOB_PASSWORD": "973808"}, 1),
        ({"DATABASE_URL": "sqlite:///nowhere/bob.db"}, 2),
    ],
    ids=["a note", "a warning", "an error"],
)
def test_what_lints_is_told_the_worst_by_the_exit_code(
    bob: Installation, tmp_path: Path, settings: dict[str, str], code: int
) -> None:
    environment = {**bob.settings, **settings}
    linted = command(environment, tmp_path, "doctor", "--offline", "--json", "--lint")
    assert linted.returncode == code, linted.stderr
    assert linted.stderr == ""
    severities = [each["severity"] for each in json.loads(linted.stdout)["findings"]]
    assert severities == [{0: "info", 1: "warning", 2: "error"}[code]]
    shown = command(environment, tmp_path, "doctor", "--offline")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "→" in shown.stdout


def test_the_readme_lists_every_finding_with_its_severity(bob: Installation) -> None:
    kinds = {each.id: each.severity for each in bob.kinds()}
    text = (ROOT / "web" / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z]+\.[a-z0-9-]+)` \| (error|warning|info) \|", text, re.MULTILINE)
    assert dict(listed) == kinds
    tried = {id for _, ids, _ in FAULTS.values() for id in ids.split()}
    elsewhere = {
        "database.unreachable", "database.pooled", "database.clocks-differ", "database.not-utf8",
        "discord.token-malformed", "slack.forgery-accepted",
    }  # fmt: skip
    assert set(kinds) - tried == elsewhere
