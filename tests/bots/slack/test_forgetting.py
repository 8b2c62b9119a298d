"""People have Bob forget them in Slack, and what they delete there leaves the transcript and the thread."""

from __future__ import annotations

import asyncio
import json

from bots.shared.controls import FORGETTING_SOMEBODY
from tests.bots.conftest import HI, SECONDS, Start, answered, settled
from tests.core.fixtures.database import contents, rows
from tests.fakes.openai_api import FakeOpenAI
from tests.fakes.slack_api import FakeSlack


async def until_gone(url: str, word: str) -> None:
    async with asyncio.timeout(SECONDS):
        while word in contents(url):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_whoever_confirms_it_is_forgotten_everywhere_and_others_are_not(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda _: "Yes."
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} confidential")
        await settled(slack, "C1", ts)
        slack.says("U2", "C1", f"{HI} something else", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
        await answered(slack, "D1", slack.says("U1", "D1", "confidential as well"))
        await slack.slash("U1", "C1", "/bob", "forget me")
        await slack.until(lambda slack: slack.open_views("U1"))
        view = slack.open_views("U1")[-1]
        assert "cannot be undone" in view["blocks"][0]["text"]["text"]
        assert "confidential" in contents(sqlite_url)
        await slack.submits("U1", view["id"])
        said = slack.open_views("U1")[-1]["blocks"][0]["text"]["text"]
        assert said == FORGETTING_SOMEBODY.format(platform="Slack")
        await until_gone(sqlite_url, "confidential")
        await until_gone(sqlite_url, "U1")
        assert [row["question"] for row in rows(sqlite_url, "SELECT question FROM turn ORDER BY accepted_at")] == [
            "", "something else", ""
        ]  # fmt: skip
        assert slack.replies("C1", ts) == ["Yes.", "Yes."]


async def test_a_question_that_is_deleted_after_its_answer_leaves_the_transcript_and_the_thread(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda _: "Yes."
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} good morning")
        await settled(slack, "C1", ts)
        regretted = slack.says("U1", "C1", f"{HI} confidential", thread_ts=ts)
        await settled(slack, "C1", ts, 2)
        slack.deletes("C1", regretted)
        await until_gone(sqlite_url, "confidential")
        seen: list[str] = []

        def look(asked: object) -> str:
            seen.append(json.dumps(asked.view))  # type: ignore[attr-defined]
            return "Yes."

        fake.answer = look
        slack.says("U2", "C1", f"{HI} what was said?", thread_ts=ts)
        await settled(slack, "C1", ts, 3)
        assert "good morning" in seen[-1]
        assert "confidential" not in seen[-1]


async def test_what_bob_posted_is_deleted_where_that_is_to_be_forgotten_too(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda _: "Yes."
    async with bob() as running:
        ts = slack.says("U1", "C1", f"{HI} confidential")
        await settled(slack, "C1", ts)
        others = slack.says("U2", "C1", f"{HI} something else")
        await settled(slack, "C1", others)
        slack.fail("chat.delete", "internal_error", status=500)
        (person,) = {row["person"] for row in rows(sqlite_url, "SELECT person FROM turn WHERE question LIKE '%conf%'")}
        forgotten = await running.chat.forget_person(person, also_posted=True)
        assert forgotten.messages == 1
        await slack.until(lambda slack: not slack.bot_messages("C1", ts), SECONDS)
        assert slack.replies("C1", others) == ["Yes."]
        async with asyncio.timeout(SECONDS):
            while rows(sqlite_url, "SELECT id FROM takedown"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
