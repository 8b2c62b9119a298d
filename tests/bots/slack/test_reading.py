"""Reading: what people and apps show in Slack reaches the model, and what cannot be read is named to it and to them."""

from __future__ import annotations

from typing import Any

import pytest

from bots.shared.quotes import LEFT_OUT, NOT_TO_BE_TOLD
from core import as_moment
from tests.bots.conftest import BOT, HI, Start, answered, asked, settled
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.frames import setting_of
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack

SHOWN = "What the message shows besides its words:"
ALERT = {"color": "danger", "title": "CPU of db-1", "text": "91 % for five minutes", "fallback": "CPU of db-1"}


def forward(ts: str, text: str, *, channel: str = "C1", author: str = "U2", **more: Any) -> dict[str, Any]:
    """What a message carries that forwards another one."""
    link = f"https://x.slack.com/archives/{channel}/p{ts.replace('.', '')}"
    told = {"is_share": True, "is_msg_unfurl": True, "ts": ts, "channel_id": channel, "author_id": author, "text": text}
    return {**told, "from_url": link, "fallback": text, "mrkdwn_in": ["text"], **more}


async def test_a_forwarded_message_is_what_the_question_is_about(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    bare = {"is_share": True, "text": "The roof is red"}
    async with bob():
        theirs = slack.says("U2", "C2", "The cat is called <@U3>")
        shared = forward(theirs, "The cat is called <@U3>", channel="C2", files=[{"name": "cat.png"}])
        first = slack.says("U1", "D1", "", attachments=[shared])
        assert (await answered(slack, "D1", first)).startswith("_I have not seen: cat.png_")
        second = slack.says("U1", "C1", f"{HI} why?", attachments=[bare])
        await answered(slack, "C1", second)
    about = "The message that this is about"
    assert asked(fake) == [
        f"{about}, from Grace:\nThe cat is called @Root\n(Not readable: cat.png)\n\n(no words)"
        "\n\n(Attached, and not readable for you: cat.png)",
        f"{about}:\nThe roof is red\n\nAda: why?",
    ]  # fmt: skip


async def test_a_pasted_table_a_snippet_and_what_slack_heard_in_a_clip_are_read(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    row = [{"type": "raw_text", "text": "Roof"}, {"type": "raw_text", "text": "red"}]
    table = {"blocks": [{"type": "table", "rows": [row]}], "fallback": "[no preview available]"}
    async with bob():
        await answered(slack, "D1", slack.says("U1", "D1", "which colour?", attachments=[table]))
        ts = slack.says("U1", "D1", "", blocks=[{"type": "hologram"}, {"type": "markdown", "text": "# Hi"}])
        assert "have not seen: a block of the kind “hologram”" in await answered(slack, "D1", ts)
    assert asked(fake)[0] == f"{SHOWN}\nAda: | Roof | red |\n\nwhich colour?"
    assert asked(fake)[1] == "# Hi\n\n(Attached, and not readable for you: a block of the kind “hologram”)"


async def test_what_an_app_says_in_a_thread_is_told_with_who_said_it_and_is_no_question(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        alert = slack.says("U9", "C1", "", attachments=[ALERT, {"image_url": "https://x.org/1.png"}])
        slack.says("U9", "C1", f"{HI} what does that mean?", thread_ts=alert)
        slack.says("U1", "C1", f"{HI} what does this alert mean?", thread_ts=alert)
        answer = await answered(slack, "C1", alert)
    assert asked(fake) == [
        "Earlier in this thread:\nOtherbot (app): CPU of db-1\n91 % for five minutes\n"
        "(Not readable: the picture in an attachment)\n"
        "Otherbot (app): @Bob what does that mean?\n\nAda: what does this alert mean?"
    ]  # fmt: skip
    assert answer.endswith("\n\n_Of what was said before I have not seen: the picture in an attachment_")


async def test_what_nobody_can_read_in_a_thread_costs_no_answer(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    wrong: Any = [5, None, ["x"], {"ts": []}, {"is_share": True, "author_id": {}}, {"fields": 7, "blocks": "x"}]
    async with bob():
        root = slack.says("U2", "C1", "red")
        broken = slack.says("U2", "C1", "", thread_ts=root)
        message = slack._state.message("C1", broken)
        message.attachments, message.blocks, message.files = wrong, [{"type": []}], ["x"]  # type: ignore[list-item]
        slack.says("U1", "C1", f"{HI} which colour?", thread_ts=root)
        await settled(slack, "C1", root)
    assert asked(fake)[0].startswith("Earlier in this thread:\nGrace: red\nGrace: ")
    assert "Ada: which colour?" in asked(fake)[0]


@pytest.mark.parametrize("by_link", [False, True])
async def test_what_was_said_to_or_by_a_private_assistant_is_not_told_where_it_is_forwarded(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, by_link: bool
) -> None:
    fake.answer = lambda asked: "Under the oak" if "treasure" in asked.question else "Nothing."

    def of(ts: str, text: str, **more: Any) -> dict[str, Any]:
        told = forward(ts, text, channel="D1", files=[{"name": "map.png"}], **more)
        return {**told, "ts": None, "channel_id": None} if by_link else told

    async with bob(private_bob_password=PASSWORD):
        private = slack.says("U1", "D1", f"{PASSWORD} where is the treasure?")
        await answered(slack, "D1", private)
        (answer,) = slack.bot_messages("D1", private)
        forwards = [of(private, "where is the treasure?", author="U1"), of(answer.ts, "Under the oak", author=BOT),
                    {"is_share": True, "author_id": BOT, "text": "Under the oak"}]  # fmt: skip
        for attachment in forwards:
            ts = slack.says("U2", "D2", "", attachments=[attachment])
            assert await answered(slack, "D2", ts) == "Nothing."
        root = slack.says("U2", "C1", "look", attachments=forwards)
        slack.says("U2", "C1", f"{HI} what is it?", thread_ts=root)
        await settled(slack, "C1", root)
    earlier = "\n".join(["Earlier in this thread:", "Grace: look", *[f"{{}} wrote: {LEFT_OUT}"] * 3])
    *three, last = asked(fake)[1:]
    assert three == [f"{NOT_TO_BE_TOLD.title}\n\n(no words)"] * 3
    assert last.startswith(earlier.partition("{}")[0])
    assert last.count(LEFT_OUT) == 3
    assert "oak" not in "".join(asked(fake)[1:])
    assert contents(sqlite_url).count("Under the oak") == 1  # in the answer itself


async def test_no_password_in_what_a_message_shows_opens_anything_or_is_kept(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    shown = [forward("1712.000100", f"it is {PASSWORD}", author_name=PASSWORD), {"title": f"code {PASSWORD}"}]
    async with bob(private_bob_password=PASSWORD):
        ts = slack.says("U1", "D1", "what is it?", attachments=shown)
        assert "Private-Bob" not in await answered(slack, "D1", ts)
    assert "it is ••••••" in asked(fake)[0]
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


async def test_words_that_stand_in_the_blocks_alone_are_the_question(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    parts = [{"type": "user", "user_id": BOT}, {"type": "text", "text": " what is 1 < 2?"}]
    rich_text = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": parts}]}
    async with bob():
        await answered(slack, "C1", slack.says("U1", "C1", "", blocks=[rich_text]))
    assert asked(fake) == ["Ada: what is 1 < 2?"]


def told(fake: FakeOpenAI) -> list[str]:
    """When and where the model was told that it was asked."""
    sent = [each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses")]
    return [setting_of(str(each["input"][-1]["content"])) for each in sent if isinstance(each, dict)]


async def test_the_model_is_told_when_a_question_was_asked_in_the_time_zone_of_its_person(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        asked_at = [slack.says("U1", "C1", f"{HI} what day is it?"), slack.says("U1", "D1", "and now?")]
        for ts, channel in zip(asked_at, ("C1", "D1"), strict=True):
            await answered(slack, channel, ts)
    moments = [as_moment(float(ts), "Europe/Berlin") for ts in asked_at]
    assert all(moment.endswith(" in Europe/Berlin") for moment in moments)
    here = {"C1": ' Here: channel "room-c1".', "D1": ""}
    lines = [f"(It is {moment}.{here[channel]})" for moment, channel in zip(moments, here, strict=True)]
    assert sorted(told(fake)) == sorted(lines)


async def test_the_time_is_told_in_utc_where_slack_does_not_tell_a_time_zone(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.scopes -= {"users:read"}
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} what day is it?")
        await answered(slack, "C1", ts)
    assert told(fake) == [f'(It is {as_moment(float(ts))}. Here: channel "room-c1".)']
