"""Reading: what people and apps show on Discord reaches the model, and what cannot be read is named to it and them."""

from __future__ import annotations

from typing import Any

import discord as discord_py
import pytest

from bots.discord.content import ANSWERED_MESSAGE
from bots.shared.quotes import LEFT_OUT
from core import Json, as_moment
from tests.bots.conftest import asked, closed
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, is_whole
from tests.bots.discord.test_commands import MENU
from tests.bots.discord.test_gating import answers, reads_all, tells
from tests.conftest import PASSWORD
from tests.core.fixtures.database import contents
from tests.fakes.discord_api import FakeDiscord, File
from tests.fakes.frames import setting_of
from tests.fakes.openai_api import FakeOpenAI

ABOUT = "The message that this is about"
ALERT = {"type": "rich", "title": "CPU of db-1", "description": "91 % for five minutes"}
POLL: Json = {
    "question": {"text": "Lunch?"}, "answers": [{"answer_id": 1, "poll_media": {"text": "Pizza"}}],
    "allow_multiselect": False, "layout_type": 1, "expiry": "2030-01-01T00:00:00+00:00",
}  # fmt: skip
V2: list[Json] = [{"type": 17, "id": 1, "components": [{"type": 10, "id": 2, "content": "The roof is red"}]}]


async def asks_about(discord: FakeDiscord, **answered: Any) -> list[str]:
    """Somebody replies to a message of an app that is told in this shape, and asks Bob what it means."""
    theirs = discord.says("otherbot", "news", "")
    message = discord.says("ada", "news", f"{HI} what does this mean?", reply_to=theirs, told=False)
    told = {**discord.message(theirs).as_json(discord.url), **answered}
    tells(discord, message, referenced_message=told)
    return [await answer(discord, message)]


@pytest.mark.parametrize(
    ("answered", "read"),
    [
        ({"embeds": [ALERT]}, "CPU of db-1\n91 % for five minutes"),
        ({"poll": POLL}, "Poll: Lunch?\n1. Pizza"),
        ({"flags": 1 << 15, "components": V2}, "The roof is red"),
        ({"message_snapshots": [{"message": {"content": "lunch?", "embeds": [ALERT]}}]},
         "lunch?\nCPU of db-1\n91 % for five minutes"),
        ({"attachments": [{"id": "1", "filename": "cat.png", "size": 1, "url": "x", "proxy_url": "x"}]},
         "(Not readable: cat.png)"),
        ({"type": 77, "content": "telepathy"}, "telepathy\n(Not readable: a message of the kind “77”)"),
    ],
)  # fmt: skip
async def test_a_reply_tells_the_model_what_the_message_that_it_replies_to_shows_and_who_says_it(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, answered: Json, read: str
) -> None:
    async with bob(**reads_all(discord)):
        (shown,) = await asks_about(discord, **answered)
    assert asked(fake)[0].startswith(f"{ABOUT}, from otherbot (app):\n{read}\n\nAda: what does this mean?")
    if "Not readable" in read:
        name = read.partition("(Not readable: ")[2][:-1]
        assert shown.startswith(f"_I have not seen: {name}_")


@pytest.mark.parametrize("is_there", [True, False])
async def test_what_a_reply_leaves_out_is_fetched_or_named(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, is_there: bool
) -> None:
    async with bob(**reads_all(discord), discord_context_messages=0):
        theirs = discord.says("grace", "news", "the cat is called Tom", told=False)
        message = discord.says("ada", "news", f"{HI} why?", reply_to=theirs, told=False)
        if not is_there:
            discord.fail("GET", "/channels/*/messages/*", code=10008)
        leaves_out(discord, message)
        await answer(discord, message)
    unread = "" if is_there else f"\n\n(Attached, and not readable for you: {ANSWERED_MESSAGE})"
    about = (
        f"{ABOUT}, from Grace:\nthe cat is called Tom" if is_there else f"{ABOUT}:\n(Not readable: {ANSWERED_MESSAGE})"
    )
    assert asked(fake) == [f"{about}\n\nAda: why?{unread}"]


async def test_a_reply_to_an_answer_that_discord_leaves_out_goes_on_with_its_conversation(
    discord: FakeDiscord, bob: Start
) -> None:
    async with bob():
        first = discord.says("ada", "news", f"{HI} one")
        await answer(discord, first)
        (shown,) = discord.reply_messages(first)
        second = discord.says("grace", "news", f"{HI} two", reply_to=shown.id, told=False)
        leaves_out(discord, second)
        assert await answer(discord, second) == "You asked: Grace: two. Before that you asked: Ada: one."


def leaves_out(discord: FakeDiscord, message: int) -> None:
    """Tell Bob of a reply without what it replies to."""
    one = discord.message(message)
    told = {**one.as_json(discord.url, referenced=False), "guild_id": str(one.channel.guild.id)}  # type: ignore[union-attr]
    assert "referenced_message" not in told
    discord.tell_app("MESSAGE_CREATE", told, one.channel.guild.id)  # type: ignore[union-attr]


async def test_an_embed_that_is_forwarded_is_what_the_question_is_about(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        theirs = discord.says("otherbot", "help", "", embeds=[ALERT])
        await answer(discord, discord.forwards("ada", "dm", theirs))
    assert asked(fake) == [f"{ABOUT}:\nCPU of db-1\n91 % for five minutes\n\n(no words)"]


async def test_a_poll_and_an_embed_of_ones_own_are_read(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        message = discord.says("ada", discord.dm("ada"), "", told=False)
        tells(discord, message, poll=POLL, embeds=[ALERT], components=[{"type": 99}])
        shown = await answer(discord, message)
    assert asked(fake)[0].startswith(
        "What the message shows besides its words:\n"
        "Ada: CPU of db-1\n91 % for five minutes\nPoll: Lunch?\n1. Pizza\n\n(no words)"
    )
    assert shown.startswith("_I have not seen: a component of the kind “99”_")


async def test_what_apps_say_in_a_thread_and_what_it_was_opened_from_is_told_and_is_no_question(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    alert = discord.says("otherbot", "general", "", embeds=[ALERT])
    thread = discord.opens_thread("ada", alert)
    discord.says("deploys", thread, f"{HI} deployed")
    discord.says("grace", thread, "", attachments=[File("graph.png", b"png")])
    async with bob(**reads_all(discord)):
        discord.says("ada", thread, f"{HI} what does this alert mean?")
        (shown,) = await answers(discord, thread, 1)
    assert asked(fake) == [
        "Earlier in this thread:\notherbot (app): CPU of db-1\n91 % for five minutes\n"
        "deploys (app): deployed\nGrace: (Not readable: graph.png)\n\nAda: what does this alert mean?"
    ]
    assert shown.endswith("_Of what was said before I have not seen: graph.png_")


async def test_what_nobody_can_read_among_the_messages_before_costs_no_answer(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread = discord.opens_thread("ada", "general")
    discord.says("grace", thread, "at noon")
    broken = discord.says("grace", thread, "in the garden")
    whole = type(discord.message(broken)).as_json

    def as_json(self: Any, *args: Any, **more: Any) -> Json:
        told: Json = whole(self, *args, **more)
        wrong = {"attachments": None, "embeds": 5, "author": {"id": [], "username": 7}, "mentions": "x", "type": {}}
        return {**told, **wrong} if self.id == broken else told

    monkeypatch.setattr(type(discord.message(broken)), "as_json", as_json)
    async with bob(**reads_all(discord)):
        discord.says("ada", thread, f"{HI} where?")
        await answers(discord, thread, 1)
        assert discord.requests("GET", "/channels/{channel}/messages")
    assert asked(fake)[0].startswith("Earlier in this thread:\nGrace: at noon\n")
    assert "in the garden" in asked(fake)[0]


@pytest.mark.parametrize(
    ("wrong", "is_read"),
    [({"embeds": 5}, True), ({"attachments": None}, True), ({"components": [7]}, True), ({"author": None}, False)],
)
async def test_a_message_that_discord_py_cannot_read_ends_no_connection_and_is_answered_where_it_can_be(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, wrong: Json, is_read: bool
) -> None:
    async with bob():
        message = discord.says("ada", "general", f"{HI} one", told=False)
        tells(discord, message, **wrong)
        await answer(discord, discord.says("ada", "news", f"{HI} two"))
        if is_read:
            await answer(discord, message)
    assert ("Ada: one" in "".join(asked(fake))) is is_read
    assert len(discord.sessions) == 1


async def test_a_missed_message_that_cannot_be_read_keeps_no_other_from_its_answer(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = discord.says("ada", "general", f"{HI} one")
    missed = discord.says("ada", "general", f"{HI} two")
    whole = type(discord.message(broken)).as_json

    def as_json(self: Any, *args: Any, **more: Any) -> Json:
        told: Json = whole(self, *args, **more)
        return {**told, "embeds": 5, "attachments": "x"} if self.id == broken else told

    monkeypatch.setattr(type(discord.message(broken)), "as_json", as_json)
    async with bob():
        await answer(discord, missed)
        await answer(discord, broken)
    assert sorted(question.partition("\n")[0] for question in asked(fake)) == ["Ada: one", "Ada: two"]


@pytest.mark.parametrize(
    ("shape", "read"),
    [
        ({"embeds": [ALERT]}, "CPU of db-1\n91 % for five minutes"),
        ({"content": "look", "attachments": [File("cat.png", b"png")]}, "look\n(Not readable: cat.png)"),
    ],
)
async def test_ask_about_this_tells_what_a_message_shows(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, shape: Any, read: str
) -> None:
    async with bob():
        await discord.until(lambda discord: MENU in discord.commands(), SECONDS)
        theirs = discord.says("otherbot", "news", shape.get("content", ""), embeds=shape.get("embeds", ()),
                              attachments=shape.get("attachments", ()))  # fmt: skip
        window = await discord.context_menu("ada", theirs, MENU)
        assert window.modal is not None
        fields = {"message": read, "question": "what is it?"}
        assert window.modal.fields["message"]["value"] == read
        sent = discord.submits("ada", window, fields)
        await discord.until(lambda _: sent.original is not None and is_whole(sent.original), SECONDS)
    assert asked(fake) == [f"{ABOUT}, from otherbot:\n{read}\n\nAda: what is it?"]


async def test_what_was_said_in_private_is_told_neither_by_a_forward_in_a_thread_nor_by_asking_about_one(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    fake.answer = lambda asked: "Under the oak" if "treasure" in asked.question else "Nothing."
    async with bob(private_bob_password=PASSWORD, **reads_all(discord)):
        await discord.until(lambda discord: MENU in discord.commands(), SECONDS)
        private = discord.says("ada", "dm", f"{PASSWORD} where is the treasure?")
        await answer(discord, private)
        await closed(sqlite_url)
        (shown,) = discord.reply_messages(private)
        forward = discord.forwards("ada", "general", shown.id)
        window = await discord.context_menu("grace", forward, MENU)
        assert window.modal is not None
        assert window.modal.fields["message"]["value"] == f"Somebody wrote: {LEFT_OUT}"
        thread = discord.opens_thread("grace", forward)
        discord.says("grace", thread, f"{HI} what is it?")
        await answers(discord, thread, 1)
    assert LEFT_OUT in asked(fake)[1]
    assert "oak" not in "".join(asked(fake)[1:])


async def test_no_password_in_what_a_message_shows_opens_anything_or_is_kept(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    embed = {"type": "rich", "title": f"code {PASSWORD}"}
    async with bob(private_bob_password=PASSWORD):
        message = discord.says("ada", "dm", "what is it?", told=False)
        tells(discord, message, embeds=[embed], poll={**POLL, "question": {"text": PASSWORD}})
        assert "Private-Bob" not in await answer(discord, message)
    assert "code ••••••" in asked(fake)[0]
    assert PASSWORD not in fake.texts() + contents(sqlite_url)


def told(fake: FakeOpenAI) -> list[str]:
    """When and where the model was told that it was asked."""
    sent = [each.json for each in fake.requests if (each.method, each.template) == ("POST", "/responses")]
    return [setting_of(str(each["input"][-1]["content"])) for each in sent if isinstance(each, dict)]


def moment(id_: int) -> str:
    """When something with this id was made, as the model is told it."""
    return as_moment(discord_py.utils.snowflake_time(id_).timestamp())


async def test_the_model_is_told_when_and_where_a_question_was_asked(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    discord.add_channel("alpha", "plans", topic='Roof "red"\n> and cats')
    async with bob():
        messages = [discord.says("ada", "plans", f"{HI} one?")]
        await answer(discord, messages[0])
        messages.append(discord.says("ada", discord.opens_thread("ada", "plans", "Release planning"), f"{HI} two?"))
        await answer(discord, messages[1])
        messages.append(discord.says("ada", "dm", "three?"))
        await answer(discord, messages[2])
    here = r' Here: server "alpha", channel "plans", topic "Roof \"red\" > and cats"'
    wheres = [f"{here}.", f'{here}, thread "Release planning".', ""]
    assert told(fake) == [f"(It is {moment(id_)}.{where})" for id_, where in zip(messages, wheres, strict=True)]
    assert asked(fake) == ["Ada: one?", "Ada: two?", "three?"]


async def test_a_thread_that_bob_opened_is_told_without_its_title_which_its_first_question_says(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    async with bob():
        first = discord.says("ada", "general", f"{HI} where is the cat?")
        await answer(discord, first)
        await answer(discord, discord.says("ada", first, f"{HI} and the dog?"))
    assert len(told(fake)) == 2
    assert all(each.endswith('. Here: server "alpha", channel "general".)') for each in told(fake))


async def test_no_password_in_the_name_or_topic_of_a_place_is_told_or_kept(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    discord.add_channel("alpha", "plans", topic=f"The password is {PASSWORD}")
    async with bob(private_bob_password=PASSWORD):
        thread = discord.opens_thread("ada", "plans", f"About {PASSWORD}")
        await answer(discord, discord.says("ada", thread, f"{HI} one?"))
    (line,) = told(fake)
    assert 'topic "The password is ••••••", thread "About ••••••"' in line
    assert PASSWORD not in contents(sqlite_url)
    assert PASSWORD not in str([request.json for request in fake.requests])


async def test_a_command_tells_when_and_where_it_was_given(discord: FakeDiscord, fake: FakeOpenAI, bob: Start) -> None:
    async with bob():
        await discord.until(lambda discord: "ask" in discord.commands(), SECONDS)
        sent = discord.slash("ada", "general", "ask", prompt="one?")
        await discord.until(lambda _: sent.original is not None and is_whole(sent.original), SECONDS)
    assert told(fake) == [f'(It is {moment(sent.id)}. Here: server "alpha", channel "general".)']
