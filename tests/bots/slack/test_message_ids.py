"""Each message of an answer has an id of ours, by which Slack may know it again; where it does not, nothing is lost."""

from __future__ import annotations

import uuid

import pytest

from bots.slack.reply import NAMESPACE
from tests.bots.conftest import HI, Start, answered, calls, heard, held, settled, turns
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.fakes.slack_api import FakeSlack

LONG = "A line of an answer that is long.\n" * 500  # in two messages


def ids(slack: FakeSlack) -> list[str | None]:
    return [arguments.get("client_msg_id") for arguments in calls(slack, "chat.postMessage")]


async def test_each_part_of_an_answer_has_an_id_that_follows_from_the_turn_and_the_part(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    slack.native_streaming = False
    fake.answer = lambda _: Reply(pieces=(LONG,))
    async with bob():
        await settled(slack, "C1", slack.says("U1", "C1", f"{HI} hello"), 2)
    (turn,) = turns(sqlite_url)
    assert ids(slack) == [str(uuid.uuid5(NAMESPACE, f"{turn['id']}:{part}")) for part in range(2)]


async def test_a_post_of_which_nobody_knows_whether_it_was_made_is_made_again_with_the_same_id(
    slack: FakeSlack, bob: Start
) -> None:
    slack.native_streaming = False
    slack.fail("chat.postMessage", status=500)
    async with bob():
        await answered(slack, "C1", slack.says("U1", "C1", f"{HI} hello"))
    first, second = ids(slack)
    assert first is not None
    assert first == second


async def test_a_reclaimer_posts_with_the_ids_of_who_died_whatever_else_stands_in_the_thread(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    slack.native_streaming = False
    held(fake, after=0)
    async with bob() as first:
        thread = slack.says("U1", "C1", f"{HI} one")
        await fake.until(lambda fake: fake.active == 1)
        await heard(slack, slack.says("U1", "C1", "two", thread_ts=thread))
        await first.dies()  # what it had sent by then may arrive after whoever takes over has looked
    fake.answer = lambda asked: f"Answer to {asked.question}."
    async with bob():
        assert await settled(slack, "C1", thread, 2) == ["Answer to Ada: one.", "Answer to Ada: two."]
    assert ids(slack) == [str(uuid.uuid5(NAMESPACE, f"{turn['id']}:0")) for turn in turns(sqlite_url)]


@pytest.mark.parametrize("error", ["invalid_arguments", "invalid_arg_name", "duplicate_message_not_found"])
async def test_where_slack_refuses_the_id_the_message_is_posted_without_and_so_are_all_after_it(
    slack: FakeSlack, bob: Start, error: str
) -> None:
    slack.native_streaming = False
    slack.fail("chat.postMessage", error, times=None, when=lambda arguments: bool(arguments.get("client_msg_id")))
    async with bob():
        for question in ("one", "two"):
            ts = slack.says("U1", "C1", f"{HI} {question}")
            assert await answered(slack, "C1", ts) == f"You asked: Ada: {question}."
            assert slack.bot_messages("C1", ts)[0].has_feedback_buttons  # its form is not what was refused
    assert [each is not None for each in ids(slack)] == [True, False, False]
