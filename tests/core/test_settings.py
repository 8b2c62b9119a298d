"""Settings: all of them documented, strict, and discreet."""

from __future__ import annotations

import codecs
import contextlib
import re
import shlex
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

import core
from bots import SURFACES
from bots.shared.surface import Surface, all_secrets, load_surfaces
from bots.slack.settings import SlackSettings
from core import (
    Settings,
    SettingsError,
    SettingsModel,
    StartError,
    describe_database,
    load_settings,
    open_chat,
    read_settings,
    start_warnings,
)  # fmt: skip
from core.assistants import Assistant, Assistants
from core.bootstrap import load_passwords
from core.password import SEED_PASSWORD
from core.store import database

EXAMPLE = Path(core.__file__).parents[1] / ".env.example"


def listed() -> Sequence[str]:
    """The settings in the example, in its order."""
    return re.findall(r"^(?:# ?)?([A-Z][A-Z0-9_]*)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)


def all_settings(surfaces: Sequence[Surface[Any]]) -> Sequence[str]:
    """Every setting there is, in the order of the example: surfaces stand between what is served and how."""
    ours = [field.upper() for field in Settings.model_fields]
    of_surfaces = [field.upper() for each in surfaces for field in each.settings.model_fields]
    at = ours.index("LOG_LEVEL")
    return [*ours[:at], *of_surfaces, *ours[at:]]


def test_the_example_lists_every_setting_in_order() -> None:
    assert listed() == all_settings(SURFACES)


@pytest.mark.parametrize("model", [Settings, *(each.settings for each in SURFACES)])
def test_the_example_copied_as_it_is_changes_nothing(tmp_path: Path, model: type[SettingsModel]) -> None:
    (tmp_path / ".env").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    assert read_settings(model) == model(_env_file=None)


def test_the_example_explains_each_group_of_settings() -> None:
    groups = EXAMPLE.read_text(encoding="utf-8").strip().split("\n\n")
    assert all(group.startswith("# ") for group in groups)


def test_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(all_settings(SURFACES)) - {"PRIVATE_BOB_PASSWORD"}:
        monkeypatch.setenv(name, "")
    assert load_settings() == Settings(_env_file=None)
    assert [each.settings for each in load_surfaces(SURFACES)] == [each.settings(_env_file=None) for each in SURFACES]


@pytest.mark.parametrize("empty", ["", " ", "\n", '""', "' '"])
def test_an_empty_variable_hides_nothing_that_is_set_in_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, empty: str
) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-1234\nPORT=1234\nSLACK_API_URL=https://slack.example/\n")
    for name in ("OPENAI_API_KEY", "PORT", "SLACK_API_URL", "LOG_LEVEL"):
        monkeypatch.setenv(name, empty)
    settings = load_settings()
    assert settings.openai_api_key.get_secret_value() == "sk-1234"
    assert (settings.port, settings.log_level) == (1234, "info")
    assert read_settings(SlackSettings).slack_api_url == "https://slack.example/"


def test_an_empty_password_of_the_environment_holds_against_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PRIVATE_BOB_PASSWORD=correct-horse-4711\n")
    monkeypatch.setenv("PRIVATE_BOB_PASSWORD", "")
    assert load_settings().private_bob_password.get_secret_value() == ""


@pytest.mark.parametrize(
    ("name", "written", "read"),
    [
        ("OPENAI_API_KEY", "sk-1234\n", "sk-1234"),
        ("OPENAI_API_KEY", '  "sk-1234" ', "sk-1234"),
        ("OPENAI_API_KEY", "'sk-1234'\r\n", "sk-1234"),
        ("OPENAI_API_KEY", '""', ""),
        ("OPENAI_BASE_URL", " http://127.0.0.1:11434/v1\n", "http://127.0.0.1:11434/v1"),
        ("OPENAI_BASE_URL", '"http://127.0.0.1:11434/v1/"', "http://127.0.0.1:11434/v1/"),
        ("OPENAI_BASE_URL", "https://a.example/openai/v1?api-version=preview", None),
        ("OPENAI_BASE_URL", "https://bob:p%40ss@a.example/v1", None),
        ("OPENAI_BASE_URL", "HTTPS://Bücher.example/v1", None),
        ("OPENAI_MODEL", ' "qwen3:8b"\n', "qwen3:8b"),
    ],
)
def test_blanks_line_ends_and_quotes_around_a_key_or_a_url_count_for_nothing(
    monkeypatch: pytest.MonkeyPatch, name: str, written: str, read: str | None
) -> None:
    monkeypatch.setenv(name, written)
    value = getattr(load_settings(), name.lower())
    assert (value.get_secret_value() if isinstance(value, SecretStr) else value) == (written if read is None else read)


def test_the_password_is_the_published_one_until_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().private_bob_password.get_secret_value() == SEED_PASSWORD == "973808"
    monkeypatch.setenv("PRIVATE_BOB_PASSWORD", "")
    assert load_settings().private_bob_password.get_secret_value() == ""


@pytest.mark.parametrize("empty", ["", "  "])
async def test_an_empty_password_switches_unlocking_off(
    monkeypatch: pytest.MonkeyPatch, sqlite_url: str, empty: str
) -> None:
    monkeypatch.setenv("PRIVATE_BOB_PASSWORD", empty)
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    async with open_chat(load_settings()) as chat:
        for text in (f"{SEED_PASSWORD} hello", "hello"):
            turn = await chat.accept(core.Question("web", "web:public:1", text))
            assert turn is not None
            assert (turn.private, turn.question) == (False, text)


def test_the_environment_goes_before_the_file_and_the_file_before_the_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=1234\nHOST=0.0.0.0\nSOMEBODY_ELSES=value\n")
    monkeypatch.setenv("PORT", "4321")
    settings = load_settings()
    assert (settings.port, settings.host, settings.log_level) == (4321, "0.0.0.0", "info")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("https://a.example", ("https://a.example",)),
        ("https://a.example,https://b.example", ("https://a.example", "https://b.example")),
        (" https://a.example , https://b.example ", ("https://a.example", "https://b.example")),
        ("https://a.example https://b.example", ("https://a.example", "https://b.example")),
        ("*", ("*",)),
    ],
)
def test_lists_are_words_between_spaces_or_commas(
    monkeypatch: pytest.MonkeyPatch, written: str, read: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CORS_ALLOW_ORIGINS", written)
    assert load_settings().cors_allow_origins == read


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [({}, 14.0), ({"HOLD_SECONDS": "20"}, 20.0), ({"HOLD_SECONDS": "20", "LEASE_SECONDS": "30"}, 30.0)],
)
def test_leases_last_as_long_as_their_setting_says_also_by_its_former_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], seconds: float
) -> None:
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    assert load_settings().lease_seconds == seconds
    (tmp_path / ".env").unlink()
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert load_settings().lease_seconds == seconds
    assert Settings(lease_seconds=7, _env_file=None).lease_seconds == 7


def test_log_levels_may_be_written_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "WARNING")
    assert load_settings().log_level == "warning"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "99999"),
        ("OPENAI_THREADS", "elsewhere"),
        ("CORS_ALLOW_CREDENTIALS", "perhaps"),
        ("TRUSTED_PROXIES", "172.31.0.0/16 my-proxy"),
        ("LOG_LEVEL", "chatty"),
        ("MAX_TURNS_AT_ONCE", "0"),
        ("MAX_TURNS_WAITING", "many"),
        ("MAX_QUESTION_CHARACTERS", "-7"),
        ("MAX_BODY_BYTES", "999"),
        ("TURN_DEADLINE_SECONDS", "5min"),
        ("MODEL_SILENCE_SECONDS", "-8"),
        ("MODEL_FIRST_TOKEN_SECONDS", "-8"),
        ("LEASE_SECONDS", "2.5"),
        ("DRAIN_SECONDS", "soon"),
        ("DRAIN_SECONDS", "nan"),
        ("DRAIN_SECONDS", "inf"),
        ("TURN_DEADLINE_SECONDS", "1e300"),
        ("MODEL_SILENCE_SECONDS", "infinity"),
        ("DISCORD_CATCH_UP_SECONDS", "-inf"),
        ("MAX_TURNS_WAITING", "9" * 30),
        ("MAX_BODY_BYTES", "9" * 5_000),
        ("MAX_REQUESTS_PER_MINUTE_OF_A_KEY", "9" * 30),
        ("MAX_TURNS_AT_ONCE_OF_AN_ADDRESS", "1e5000"),
        ("TRUSTED_PROXIES", "10.0.0.0/99"),
        ("DISCORD_GUILDS", "general"),
        ("DISCORD_CHANNELS", "1234567 12three"),
        ("DISCORD_ROLES", "9" * 30),
        ("OPENAI_API_KEY", "sword fish"),
        ("OPENAI_API_KEY", "sword\nfish"),
        ("OPENAI_API_KEY", "sword\x1bfish"),
        ("OPENAI_API_KEY", "sword\u200bfish"),
        ("OPENAI_API_KEY", "\N{LEFT DOUBLE QUOTATION MARK}swordfish\N{RIGHT DOUBLE QUOTATION MARK}"),
        ("OPENAI_API_KEY", "Bearer swordfish"),
        ("OPENAI_MODEL", "sword\nfish"),
        ("OPENAI_BASE_URL", "https://sword\nfish.example/v1"),
        ("OPENAI_BASE_URL", "https://swordfish.example/v1 /x"),
        ("OPENAI_BASE_URL", "https://swordfish.example/v1\ufeff"),
        ("OPENAI_BASE_URL", "https://swordfish.example/v1#part"),
        ("OPENAI_BASE_URL", "https://swordfish.example/vé"),
        ("OPENAI_BASE_URL", "https://swordfish.example/v1/responses"),
        ("OPENAI_BASE_URL", "https://swordfish.example/v1/chat/completions/?a=b"),
        ("OPENAI_BASE_URL", "https://swordfish.example/v1/models"),
        ("OPENAI_BASE_URL", "https://https://swordfish.example/v1"),
        ("OPENAI_BASE_URL", "https://swordfish.example/v1,https://trout.example/v1"),
        ("OPENAI_BASE_URL", "swordfish.example/v1"),
        ("OPENAI_BASE_URL", "ftp://swordfish.example/v1"),
        ("OPENAI_BASE_URL", "https://swordfish.example:abc/v1"),
        ("OPENAI_BASE_URL", "https://swordfish.example:99999/v1"),
        ("OPENAI_BASE_URL", "https://swordfish.example:0/v1"),
        ("OPENAI_BASE_URL", "https://bob:12/swordfish@api.example/v1"),
        ("OPENAI_BASE_URL", "https://bob:sword#fish@api.example/v1"),
        ("OPENAI_BASE_URL", "https://bob:sword?fish@api.example/v1"),
        ("OPENAI_BASE_URL", "https://[::1/v1"),
        ("OPENAI_BASE_URL", "https:///v1"),
        ("SLACK_API_URL", "slack.com/api"),
        ("SLACK_API_URL", "https://slack.com:abc/api"),
        ("DISCORD_API_URL", "https://discord..com/api"),
        ("DISCORD_API_URL", "https://discord.com:99999/api"),
        ("ALLOWED_HOSTS", "https://swordfish.example"),
        ("ALLOWED_HOSTS", "alice.example swordfish.example:8000"),
        ("ALLOWED_HOSTS", "[::1]:8000"),
        ("ALLOWED_HOSTS", "swordfish.example/chat"),
        ("ALLOWED_HOSTS", "*.*.swordfish.example"),
        ("ALLOWED_HOSTS", "*swordfish.example"),
        ("ALLOWED_HOSTS", "swordfish.*"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_quoted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        all_secrets(load_settings(), load_surfaces(SURFACES))
    assert str(refused.value).startswith(f"{name}: ")
    for word in value.split():
        assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", str(refused.value).removeprefix(f"{name}: "))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bob:bluefish@db.example:abc/bob",
        "postgresql://bob:bluefish@db.example:99999/bob",
        "postgresql://bob:bluefish@db.example:0/bob",
        "postgresql://bob:blue@fish@db.example/bob",
        "postgresql://bob:blue@fi/fish@db.example/bob",
        "postgresql://bob:blue@fi?fish@db.example/bob",
        "postgresql://bob:bluefish/bob",
        "postgresql://blue/fish@db.example/bob",
        "postgresql://bob:pw@bluefish^/bob",
        "postgresql://bob:pw@db.example/bob?connect_timeout=bluefish",
        "postgresql://bob:pw@db.example/bob?port=bluefish",
        "postgresql://bob:pw@db.example/bob?bluefish=1",
        "postgresql://bob:pw@blue..fish/bob",
        "postgresql://bob:pw@db.example/bob?keepalives=bluefish",
        "mysql://bob:bluefish@db.example/bob",
        "bluefish",
    ],
)
def test_a_database_that_cannot_be_used_is_a_sentence_that_shows_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(StartError, match=r"^DATABASE_URL[^\n]*\.$") as refused:
        load_settings()
    for piece in ("blue", "fish", "bob:", "abc", "99999", "db.example"):
        assert piece not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://bob:sw%40rd@db.example:5432/bob?connect_timeout=7&sslmode=require",
        "postgresql://me@tenant:pw@db.example/bob",
        "postgresql://bob:pw@[::1]:5432/bob",
        "postgresql://bob@/bob?host=/run/postgresql",
        "postgresql:///bob",
        "postgres://db_1.example",
    ],
)
def test_a_database_that_can_be_used_may_be_written_in_every_usual_way(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert load_settings().database_url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://bob:sw/rd@db.example:5432/data?sslmode=require", "PostgreSQL, db.example:5432/data"),
        ("postgresql://bob:sw#rd@db.example/data", "PostgreSQL, db.example/data"),
        ("postgresql://bob:sw?rd@db.example/data", "PostgreSQL, db.example/data"),
        ("postgresql://bob@[::1]/data", "PostgreSQL, [::1]/data"),
        ("postgresql:///data?password=sword", "PostgreSQL, /data"),
        ("sqlite:///bob.db", "SQLite, bob.db"),
        ("sqlite:////srv/bob.db", "SQLite, /srv/bob.db"),
    ],
)
def test_a_database_is_shown_without_user_password_and_options(url: str, shown: str) -> None:
    assert describe_database(url).replace("../", "").replace("SQLite, srv", "SQLite, /srv") == shown


@pytest.mark.parametrize(
    "options", ["?sslmode=swordfish", "?port=99999&host=swordfish", "?user=swordfish", "?sslrootcert=/swordfish"]
)
async def test_what_a_database_driver_says_of_a_url_is_told_without_the_pieces_that_it_quotes(options: str) -> None:
    with pytest.raises(StartError) as refused:
        async with open_chat(Settings(database_url=SecretStr(f"postgresql://bob:pw@127.0.0.1:1/sword{options}"))):
            pass
    said = str(refused.value)
    assert said.startswith("The database at DATABASE_URL does not answer as it should: ")
    assert "\n" not in said
    for piece in ("sword", "fish", "bob"):
        assert piece not in said


async def test_a_database_that_takes_no_writes_is_told_as_the_reason_why_nothing_starts(database_url: str) -> None:
    settings = Settings(database_url=SecretStr(database_url))
    with contextlib.ExitStack() as stack:
        if database_url.startswith("sqlite"):  # somebody else keeps it locked
            stack.enter_context(pytest.MonkeyPatch.context()).setattr(database, "BUSY_TIMEOUT_MS", 1)
            holder = stack.enter_context(contextlib.closing(sqlite3.connect(database_url.partition(":///")[2])))
            holder.execute("BEGIN IMMEDIATE")
        else:  # as a standby's
            connection = stack.enter_context(psycopg.connect(database_url, autocommit=True))
            name = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
            stack.callback(
                connection.execute, sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name)
            )
        with pytest.raises(StartError, match=r"^The database at DATABASE_URL does not answer as it should: "):
            async with open_chat(settings):
                pass


@pytest.mark.parametrize(
    ("value", "teams"), [("false", ()), ("0", ()), ("true", ("*",)), ("Yes", ("*",)), ("T1, E2 T3", ("T1", "E2", "T3"))]
)
def test_other_companies_are_none_all_or_those_that_are_named(
    monkeypatch: pytest.MonkeyPatch, value: str, teams: Sequence[str]
) -> None:
    monkeypatch.setenv("SLACK_STRANGERS", value)
    assert read_settings(SlackSettings).slack_strangers == teams


@pytest.mark.parametrize("value", ["acme", "T1 acme.example", "*", "U1"])
def test_other_companies_are_named_by_their_ids(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("SLACK_STRANGERS", value)
    with pytest.raises(SettingsError, match=r"SLACK_STRANGERS: .*ids of workspaces"):
        read_settings(SlackSettings)


WRITTEN = "PORT=1234\nHOST=grüße.example\n"


@pytest.mark.parametrize(
    "content",
    [
        WRITTEN.encode(),
        codecs.BOM_UTF8 + WRITTEN.encode(),
        codecs.BOM_UTF16_LE + WRITTEN.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + WRITTEN.replace("\n", "\r\n").encode("utf-16-be"),
    ],
    ids=["UTF-8", "with a BOM", "PowerShell's", "big endian"],
)
def test_an_environment_file_may_be_written_by_windows(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    settings = load_settings()
    assert (settings.port, settings.host) == (1234, "grüße.example")


def test_a_circles_password_is_found_in_an_environment_file_of_utf_16(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("EVES_PASSWORD=correct-horse-4711\n", encoding="utf-16")
    eve = Assistant(name="Eve", model="m", instructions="i", private=True, password_from="EVES_PASSWORD")
    bob = Assistant(name="Bob", model="m", instructions="i")
    found = load_passwords(Settings(private_bob_password=SecretStr(""), _env_file=None), Assistants([bob, eve]))
    assert [each.name for each in found] == ["EVES_PASSWORD"]


@pytest.mark.parametrize(
    "content",
    [b"PORT=80\xff\n", "PORT=80\n".encode("utf-16-le"), codecs.BOM_UTF16_LE + b"P\0O\0R"],
    ids=["Latin-1", "UTF-16 that does not say so", "half a character"],
)
def test_an_environment_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(SettingsError, match=r"^\.env .*UTF-8"):
        load_settings()


def test_hosts_are_written_as_requests_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "Bob.Example, *.Shop.example ::1 [fe80::1] 10.0.0.1 *")
    expected = ("bob.example", "*.shop.example", "[::1]", "[fe80::1]", "10.0.0.1", "*")
    assert load_settings().allowed_hosts == expected


@pytest.mark.parametrize(
    ("variables", "offline", "threads"),
    [
        ({}, True, "conversations"),
        ({"OPENAI_API_KEY": "sk-1234"}, False, "conversations"),
        ({"OPENAI_BASE_URL": "http://localhost:11434/v1"}, False, "local"),
        ({"OPENAI_API_KEY": "sk-1234", "OPENAI_BASE_URL": "http://localhost:11434/v1"}, False, "local"),
        ({"OPENAI_BASE_URL": "http://localhost:1/v1", "OPENAI_THREADS": "conversations"}, False, "conversations"),
        ({"OPENAI_API_KEY": "sk-1234", "OPENAI_THREADS": "local"}, False, "local"),
        ({"OPENAI_BASE_URL": "http://h/v1", "OPENAI_API": "chat", "OPENAI_THREADS": "conversations"}, False, "local"),
        ({"OPENAI_API_KEY": "sk-1234", "OPENAI_API": "chat"}, False, "conversations"),
    ],
)
def test_who_answers_and_where_threads_live_follows_from_key_and_server(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], offline: bool, threads: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert (settings.offline, settings.threads) == (offline, threads)


def test_settings_show_no_secret_when_they_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "OPENAI_API_KEY": "sk-hidden",
        "PRIVATE_BOB_PASSWORD": "8675309",
        "DATABASE_URL": "postgresql://bob:swordfish@db.example/bob",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    for secret in ("sk-hidden", "8675309", "swordfish"):
        assert secret not in repr(settings) + str(settings) + str(settings.model_dump())
        assert secret in " ".join(settings.secrets)


@pytest.mark.parametrize(
    "password",
    ["swordfish", "sword/fish", "sword#fish", "sword?fish", "sword[fish", "sword:fish", "sword@fish", "sword%2Ffish"],
)
@pytest.mark.parametrize("user", ["bob", "bob@tenant"])
def test_the_password_of_a_database_is_a_secret_whatever_is_in_it(user: str, password: str) -> None:
    url = f"postgresql://{user}:{password}@db.example/bob"
    assert {password, unquote(password)} <= set(Settings(database_url=SecretStr(url), _env_file=None).secrets)


@pytest.mark.parametrize(
    "variables",
    [
        {"DATABASE_URL": "postgresql://db.example/bob?password=sword%2Ffish&sslmode=require"},
        {"OPENAI_BASE_URL": "https://bob:sword%2Ffish@api.example/v1"},
        {"SLACK_API_URL": "https://bob:sword%2Ffish@slack.example/api/"},
        {"DISCORD_API_URL": "https://bob:sword%2Ffish@discord.example/api"},
    ],
)
def test_a_password_in_any_address_is_a_secret(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert {"sword/fish", "sword%2Ffish"} <= set(all_secrets(load_settings(), load_surfaces(SURFACES)))


def test_what_is_not_set_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_BOB_PASSWORD", "")
    assert all_secrets(load_settings(), load_surfaces(SURFACES)) == []


@pytest.mark.parametrize("serving", [True, False])
@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ([".env"], ".env"),
        (["bob.db"], "bob.db"),
        (["bob.db-wal", ".env"], ".env bob.db-wal"),
        (["data of mine/bob.db-shm"], "'data of mine/bob.db-shm'"),
        (["../elsewhere/bob.db"], "{above}/elsewhere/bob.db"),
    ],
)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_files_that_others_can_read_are_named_with_what_cures_that(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: list[str], shown: str, mode: int, serving: bool
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in names:
        (here / name).parent.mkdir(exist_ok=True)
        (here / name).resolve().touch(0o600)
    database = next((name.removesuffix("-wal").removesuffix("-shm") for name in names if "bob.db" in name), "bob.db")
    settings = Settings(database_url=SecretStr(f"sqlite:///{(here / database).resolve()}"), private_bob_password="")
    assert [each for each in start_warnings(settings, serving=serving) if "chmod" in each] == []
    for name in names:
        (here / name).chmod(mode)
    (warning,) = (each for each in start_warnings(settings, serving=serving) if "chmod" in each)
    assert warning.endswith(
        f" can read {' and '.join(names_in(shown, tmp_path))}: chmod 600 {shown}".format(above=tmp_path)
    )


def names_in(shown: str, above: Path) -> list[str]:
    return [shlex.quote(name) for name in shlex.split(shown.format(above=above))]


@pytest.mark.parametrize("url", ["sqlite://", "postgresql://bob:pw@db.example/bob", "mysql://h/d"])
def test_where_the_database_is_no_file_no_file_is_looked_at(url: str) -> None:
    settings = Settings(database_url=SecretStr(url))
    assert not any("chmod" in warning for warning in start_warnings(settings, serving=True))
