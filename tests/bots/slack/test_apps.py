"""Apps in Slack: those that are listed are heard where they mention Bob, and unlock, direct and loop nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from bots.slack.settings import SlackSettings
from bots.slack.words import parse_message
from core import SettingsError, read_settings
from tests.bots.conftest import BOT, HI, Over, Start, answered, asked, calls, heard, heard_again, hushed, settled, turns
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack

WORKFLOW: dict[str, Any] = {
    "user": "", "subtype": "bot_message", "bot_id": "B77", "app_id": "A77", "username": "Deploys",
}  # fmt: skip
OF_A_PERSON: dict[str, Any] = {"user": "U1", "bot_id": "B78", "app_id": "A78"}
OTHER_BOT: dict[str, Any] = {"user": "U9", "app_id": "A9"}


def says(slack: FakeSlack, app: dict[str, Any], text: str, channel: str = "C1", **more: Any) -> str:
    return slack.says(channel=channel, text=text, **{**app, **more})


@pytest.mark.parametrize("over", ["socket", "http"])
@pytest.mark.parametrize(
    ("app", "listed", "name"),
    [
        (WORKFLOW, "B77", "Deploys (app)"),
        (WORKFLOW, "A77", "Deploys (app)"),
        (OF_A_PERSON, "B78", "Ada (app)"),
        (OF_A_PERSON, "A1, A78", "Ada (app)"),
        (OTHER_BOT, "B9", "Otherbot (app)"),
        (OTHER_BOT, "A9", "Otherbot (app)"),
    ],
)
async def test_what_a_listed_app_says_in_a_mention_is_answered_once_in_its_thread(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, over: Over, app: dict[str, Any], listed: str, name: str
) -> None:
    async with bob(over=over, slack_apps=listed):
        ts = says(slack, app, f"{HI} is main green?")
        assert await answered(slack, "C1", ts) == f"You asked: {name}: is main green?."
        await heard_again(slack, ts)
    assert asked(fake) == [f"{name}: is main green?"]
    assert not calls(slack, "chat.startStream")  # which are for one person to see


@pytest.mark.parametrize(
    ("app", "listed", "text", "more"),
    [
        (WORKFLOW, "B1, A1", f"{HI} hello", {}),
        (WORKFLOW, "", f"{HI} hello", {}),
        (OF_A_PERSON, "B77, A77", f"{HI} hello", {}),
        (WORKFLOW, "B77", "hello", {}),  # without a mention
        (WORKFLOW, "B77", HI, {}),  # without a word, also not in what it says next
        (WORKFLOW, "B77", f"{HI} hello", {"channel": "D1"}),
        (OF_A_PERSON, "B78", f"{HI} hello", {"channel": "D1"}),
        (WORKFLOW, "B77", f"{HI} hello", {"channel": "C2", "slack_channels": "C1"}),
        (OF_A_PERSON, "B78", f"{HI} hello", {"slack_people": "U2"}),
    ],
)
async def test_nothing_else_that_an_app_says_is_a_question_and_nothing_is_said_to_it(
    slack: FakeSlack, bob: Start, sqlite_url: str, app: dict[str, Any], listed: str, text: str, more: dict[str, Any]
) -> None:
    settings = {name: more.pop(name) for name in list(more) if name.startswith("slack_")}
    async with bob(slack_apps=listed, **settings):
        says(slack, app, text, **more)
        says(slack, app, "and more", **more)
        await hushed(slack, sqlite_url)
        assert calls(slack, "chat.postMessage", "chat.postEphemeral") == []


async def test_an_app_without_an_account_is_on_no_list_of_people(slack: FakeSlack, bob: Start) -> None:
    async with bob(slack_apps="B77", slack_people="U2, S1"):
        ts = says(slack, WORKFLOW, f"{HI} hello")
        assert await answered(slack, "C1", ts) == "You asked: Deploys (app): hello."


async def test_in_a_thread_where_bob_takes_part_an_app_has_to_mention_him_too(
    slack: FakeSlack, bob: Start, sqlite_url: str
) -> None:
    async with bob(slack_apps="B9"):
        ts = slack.says("U1", "C1", f"{HI} hello")
        await answered(slack, "C1", ts)
        await heard(slack, says(slack, OTHER_BOT, "I saw that", thread_ts=ts))
        await hushed(slack, sqlite_url, turns_before=1)
        says(slack, OTHER_BOT, f"{HI} reset", thread_ts=ts)  # which is no command to anybody
        assert "Otherbot (app): reset" in (await settled(slack, "C1", ts, 2))[-1]


def test_bob_himself_is_never_heard_also_if_he_is_listed() -> None:
    body = {"api_app_id": "A0", "team_id": "T1", "authorizations": [{"user_id": BOT, "team_id": "T1"}]}
    said = {"type": "message", "channel": "C1", "ts": "1.2", "text": f"{HI} hello", "channel_type": "channel"}
    ours: list[dict[str, Any]] = [
        {"user": BOT, "bot_id": "B0", "app_id": "A0"},
        {"user": BOT, "bot_id": "B0"},
        {"subtype": "bot_message", "bot_id": "B0", "app_id": "A0", "username": "Bob"},
        {"bot_id": "B0", "bot_profile": {"id": "B0", "app_id": "A0"}},
    ]
    for whose in ours:
        assert parse_message(body, {**said, **whose}, str, ["A0", "B0"]) is None
    another = {**said, "bot_id": "B1", "app_id": "A1"}
    assert parse_message(body, another, str, ["A1"]) is not None
    assert parse_message(body, {**another, "subtype": "bot_add"}, str, ["A1"]) is None


async def test_what_an_app_says_unlocks_nothing_and_counts_as_no_guess(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    async with bob(slack_apps="B78", private_bob_password=PASSWORD) as running:
        await running.chat.unlock("slack:T0TEAM:U1", "slack:T0TEAM:C1", "slack", PASSWORD)
        for number in range(3):
            ts = says(slack, OF_A_PERSON, f"{HI} {PASSWORD} hello {number}")
            assert "🔒" not in await answered(slack, "C1", ts)
        ts = slack.says("U1", "C1", f"{HI} hello")
        assert "🔒" in await answered(slack, "C1", ts)  # whose unlock it is
    assert [turn["private"] for turn in turns(sqlite_url)] == [0, 0, 0, 1]
    assert PASSWORD not in contents(sqlite_url)


async def test_two_bots_that_answer_each_other_come_to_an_end_that_the_log_tells_of_once(
    slack: FakeSlack, bob: Start, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with bob(slack_apps="B9"):
        ts = says(slack, OTHER_BOT, f"{HI} hello")
        for number in range(1, 5):
            await settled(slack, "C1", ts, number)
            says(slack, OTHER_BOT, f"{HI} and {number}?", thread_ts=ts)
        await settled(slack, "C1", ts, 5)
    async with bob(slack_apps="B9"):
        for number in range(2):
            last = says(slack, OTHER_BOT, f"{HI} still {number}?", thread_ts=ts)
            await heard_again(slack, last)
        await hushed(slack, sqlite_url, turns_before=5)
        said = [record.getMessage() for record in caplog.records if "apps alone" in record.getMessage()]
        assert said == ["an app is not answered on slack: apps alone asked there lately"]
        assert len(slack.replies("C1", ts)) == 5
        slack.says("U1", "C1", "go on", thread_ts=ts)
        await settled(slack, "C1", ts, 6)
        says(slack, OTHER_BOT, f"{HI} thank you", thread_ts=ts)
        await settled(slack, "C1", ts, 7)
    assert not [record for record in caplog.records if "U9" in record.getMessage() and record.levelno >= logging.INFO]


@pytest.mark.parametrize(("listed", "is_taken"), [("B0123 A0123", True), ("", True), ("U9", False), ("b77", False)])
def test_the_list_takes_ids_of_bots_and_apps(listed: str, is_taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_APPS", listed)
    if is_taken:
        assert read_settings(SlackSettings).slack_apps == tuple(listed.split())
    else:
        with pytest.raises(SettingsError, match="SLACK_APPS"):
            read_settings(SlackSettings)
