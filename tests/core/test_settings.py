"""Settings: all of them documented, strict, and discreet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import core
from core import Settings, SettingsError, load_settings, open_chat
from core.settings import SEED_PASSWORD

EXAMPLE = Path(core.__file__).parents[1] / ".env.example"


def test_the_example_lists_every_setting_in_order() -> None:
    listed = re.findall(r"^(?:# ?)?([A-Z][A-Z0-9_]*)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert listed == [field.upper() for field in Settings.model_fields]


def test_the_example_copied_as_it_is_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    assert load_settings() == Settings(_env_file=None)


def test_the_example_explains_each_group_of_settings() -> None:
    groups = EXAMPLE.read_text(encoding="utf-8").strip().split("\n\n")
    assert all(group.startswith("# ") for group in groups)


def test_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for field in set(Settings.model_fields) - {"private_bob_password"}:
        monkeypatch.setenv(field.upper(), "")
    assert load_settings() == Settings(_env_file=None)


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
        ("HOLD_SECONDS", "2.5"),
        ("DRAIN_SECONDS", "soon"),
    ],
)
def test_what_cannot_be_used_is_named_and_not_quoted(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert str(refused.value).startswith(f"{name}: ")
    for word in value.split():
        assert not re.search(rf"(?<!\w){re.escape(word)}(?!\w)", str(refused.value).removeprefix(f"{name}: "))


@pytest.mark.parametrize(
    ("variables", "offline", "threads"),
    [
        ({}, True, "conversations"),
        ({"OPENAI_API_KEY": "sk-1234"}, False, "conversations"),
        ({"OPENAI_BASE_URL": "http://localhost:11434/v1"}, False, "local"),
        ({"OPENAI_API_KEY": "sk-1234", "OPENAI_BASE_URL": "http://localhost:11434/v1"}, False, "local"),
        ({"OPENAI_BASE_URL": "http://localhost:1/v1", "OPENAI_THREADS": "conversations"}, False, "conversations"),
        ({"OPENAI_API_KEY": "sk-1234", "OPENAI_THREADS": "local"}, False, "local"),
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
    "password", ["swordfish", "sword/fish", "sword#fish", "sword?fish", "sword[fish", "sword:fish"]
)
def test_the_password_of_a_database_is_a_secret_whatever_is_in_it(
    monkeypatch: pytest.MonkeyPatch, password: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"postgresql://bob:{password}@db.example/bob")
    assert password in load_settings().secrets


def test_what_is_not_set_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVATE_BOB_PASSWORD", "")
    assert load_settings().secrets == ()
