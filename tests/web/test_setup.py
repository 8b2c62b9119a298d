"""`bob init`: what it asks, what it refuses, what it writes, and that nothing is lost by it."""

from __future__ import annotations

import json
import os
import pty
import select
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner
from dotenv import dotenv_values

from core import SEED_PASSWORD, Settings
from tests.acceptance.processes import BOB, SECONDS, command
from web import setup
from web.setup import env_file

ROOT = Path(__file__).parents[2]
BOT_TOKEN, APP_TOKEN, SECRET = "xoxb-1-b", "xapp-1-A1-2-c", "0123456789abcdef" * 2
DISCORD_TOKEN = "MTAwMDAwMDAwMDAwMDAwMDAwMQ" + ".AbCdEf." + "t" * 38


def init(folder: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return command({"PATH": os.environ["PATH"], **environment}, folder, "init", *options)


def written(folder: Path) -> Mapping[str, str | None]:
    return dotenv_values(folder / ".env")


def test_options_alone_set_up_a_bob_on_slack_and_discord(tmp_path: Path) -> None:
    ended = init(
        tmp_path, "--yes", "--surface", "slack", "--surface", "discord", "--openai-api-key", "sk-1",
        "--slack-bot-token", BOT_TOKEN, "--slack-app-token", APP_TOKEN, DISCORD_TOKEN=DISCORD_TOKEN,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    values = written(tmp_path)
    assert [values[name] for name in ("OPENAI_API_KEY", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "DISCORD_TOKEN")] == [
        "sk-1", BOT_TOKEN, APP_TOKEN, DISCORD_TOKEN,
    ]  # fmt: skip
    assert values["PRIVATE_BOB_PASSWORD"] not in (SEED_PASSWORD, "", None)
    assert set(values) == set(dotenv_values(ROOT / ".env.example"))
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    manifest = json.loads((tmp_path / "slack-manifest.json").read_text())
    assert manifest["settings"]["socket_mode_enabled"] is True
    assert not any(secret in ended.stdout for secret in ("sk-1", BOT_TOKEN, APP_TOKEN, DISCORD_TOKEN))
    assert str(values["PRIVATE_BOB_PASSWORD"]) not in ended.stdout
    checked = command({"PATH": os.environ["PATH"]}, tmp_path, "doctor", "--offline", "--lint")
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout


def test_a_public_address_is_where_slack_delivers_and_what_bob_answers_to(tmp_path: Path) -> None:
    url = "https://bob.example"
    ended = init(
        tmp_path, "--yes", "--public-url", url, "--slack-bot-token", BOT_TOKEN, "--slack-signing-secret", SECRET
    )
    assert ended.returncode == 0, ended.stderr
    manifest = json.loads((tmp_path / "slack-manifest.json").read_text())
    events = f"{url}/slack/events"
    assert manifest["settings"]["socket_mode_enabled"] is False
    assert manifest["settings"]["event_subscriptions"]["request_url"] == events
    assert manifest["settings"]["interactivity"]["request_url"] == events
    assert [each["url"] for each in manifest["features"]["slash_commands"]] == [events]
    values = written(tmp_path)
    assert (values["PUBLIC_URL"], values["TRUSTED_PROXIES"]) == (url, "127.0.0.1")
    assert "bob.example" in str(values["ALLOWED_HOSTS"]).split()
    assert (values["SLACK_SIGNING_SECRET"], values["SLACK_APP_TOKEN"]) == (SECRET, "")
    assert "bob keys new" in ended.stdout


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--slack-bot-token", APP_TOKEN, "an app-level token"),
        ("--slack-app-token", BOT_TOKEN, "a bot token"),
        ("--slack-signing-secret", BOT_TOKEN, "a bot token"),
        ("--slack-bot-token", "hunter2hunter2", "no bot token"),
        ("--discord-token", SECRET, "the client secret"),
        ("--discord-token", "1000000000000000002", "the application's id"),
        ("--discord-token", f"Bot {DISCORD_TOKEN}", "no part of the token"),
        ("--openai-api-key", BOT_TOKEN, "Slack"),
        ("--openai-api-key", "http://localhost:11434/v1", "an address"),
        ("--openai-base-url", "localhost", "must be a URL"),
        ("--public-url", "http://bob.example", "https://"),
        ("--public-url", "https://bob.example/chat", "end with the host"),
    ],
)
def test_a_value_of_another_kind_is_refused_with_what_it_is_and_nothing_is_written(
    tmp_path: Path, option: str, value: str, said: str
) -> None:
    ended = CliRunner().invoke(setup.init, ["--yes", "--surface", "slack", option, value])
    assert ended.exit_code == 2
    assert said in ended.output
    assert value not in ended.output
    assert list(tmp_path.iterdir()) == []


def test_without_a_terminal_and_without_options_it_refuses(tmp_path: Path) -> None:
    ended = init(tmp_path)
    assert ended.returncode == 2
    assert "no terminal" in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_was_set_before_stays_and_the_old_file_is_kept(tmp_path: Path) -> None:
    before = "# Mine.\nLOG_LEVEL=debug\nMINE='a b'\nPRIVATE_BOB_PASSWORD=\nSLACK_BOT_TOKEN=xoxb-9\n"
    (tmp_path / ".env").write_text(before)
    refused = init(tmp_path, "--discord-token", DISCORD_TOKEN)
    assert (refused.returncode, "--yes" in refused.stderr) == (2, True)
    assert (tmp_path / ".env").read_text() == before
    ended = init(tmp_path, "--yes", "--discord-token", DISCORD_TOKEN)
    assert ended.returncode == 0, ended.stderr
    (kept,) = tmp_path.glob(".env.*")
    assert (kept.read_text(), stat.S_IMODE(kept.stat().st_mode)) == (before, 0o600)
    values = written(tmp_path)
    assert [values[name] for name in ("LOG_LEVEL", "MINE", "PRIVATE_BOB_PASSWORD", "SLACK_BOT_TOKEN")] == [
        "debug", "a b", "", "xoxb-9",
    ]  # fmt: skip
    assert values["DISCORD_TOKEN"] == DISCORD_TOKEN


def test_on_a_terminal_each_wrong_answer_is_asked_again_and_secrets_are_not_shown(tmp_path: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execve(BOB, [str(BOB), "init"], {"PATH": os.environ["PATH"]})
    said = ""
    for question, answer in (
        ("1. Where", "everywhere"), ("Bob knows", ""), ("1. Where", "slack"), ("2. The key", BOT_TOKEN),
        ("token of Slack's", ""), ("2. The key", "sk-typed"), ("3. The address", ""), ("4. The bot token", ""),
        ("4. An app-level token", APP_TOKEN), ("bob run", ""),
    ):  # fmt: skip
        said += _until(terminal, question)
        if answer or question[0].isdigit():
            os.write(terminal, f"{answer}\n".encode())
    os.waitpid(pid, 0)
    assert not any(secret in said for secret in ("sk-typed", APP_TOKEN, BOT_TOKEN))
    values = written(tmp_path)
    assert [values[name] for name in ("OPENAI_API_KEY", "SLACK_APP_TOKEN")] == ["sk-typed", APP_TOKEN]
    assert "Not served yet, for want of tokens: slack" in said


def _until(terminal: int, text: str) -> str:
    """What is shown up to a text."""
    shown = b""
    while text.encode() not in shown:
        ready, _, _ = select.select([terminal], [], [], SECONDS)
        assert ready, shown.decode()
        shown += os.read(terminal, 1)
    return shown.decode()


@pytest.mark.parametrize(
    "value", ["plain", "with blanks", "quo'te", 'dou"ble', "back\\slash", "#hash", "a=b", "ü", "$x", ""]
)
def test_whatever_is_written_is_read_again_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text(env_file({"CHAT_PAGE_TITLE": value}), encoding="utf-8")
    assert Settings().chat_page_title == value
