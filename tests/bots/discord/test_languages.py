"""Bob's own words on Discord: commands in all our languages, and what he says in that of the person or the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bots.discord.commands import ASK_ABOUT_THIS, HELP, NO_WORDS_TO_READ
from bots.discord.prepare import ANOTHER_PLACE, OTHERS_CAN_READ_IT
from bots.discord.reply import REFUSED_TEXTS
from bots.discord.words import A_CONVERSATION, THE_REST_IS_IN_THE_FILE
from bots.shared.controls import NOTHING_TO_LOCK, NOTHING_TO_RESET, NOTHING_TO_STOP, THANKS
from bots.shared.responder import STOPPED
from bots.shared.words import NO_WORDS
from core import WrongPassword
from core.errors import QuestionRefused
from tests.bots.conftest import closed, held, lines
from tests.bots.discord.conftest import HI, SECONDS, Start, answer, answered, buttons
from tests.conftest import PASSWORD
from tests.core.fixtures.database import rows
from tests.fakes.discord_api import FakeDiscord, Interaction
from tests.fakes.discord_content import File
from tests.fakes.openai_api import FakeOpenAI, Status

REFUSED = Status(400, "invalid_prompt")
REGISTERED = "/applications/{application}/commands"
JAPANESE, GERMAN = "ja", "de"


async def ready(discord: FakeDiscord) -> None:
    """Come back once people can give commands."""
    await discord.until(lambda discord: discord.commands(), SECONDS)


async def read(discord: FakeDiscord, interaction: Interaction) -> str:
    """What a person reads once a command is carried out."""
    await discord.until(lambda _: interaction.failure or (interaction.messages and not interaction.thinking), SECONDS)
    assert interaction.failure is None
    return interaction.messages[0].text


# ── the commands themselves ──────────────────────────────────────────────────────────────────────────────────────────


async def test_commands_are_registered_in_all_our_languages(discord: FakeDiscord, bob: Start) -> None:
    async with bob():
        await ready(discord)
        kept = discord.commands()
    ask = kept["ask"]
    assert ask["name_localizations"] == {
        "de": "fragen", "fr": "demander", "es-ES": "preguntar", "es-419": "preguntar", "pt-BR": "perguntar",
        "ja": "質問", "zh-CN": "提问", "zh-TW": "提问",
    }  # fmt: skip
    assert ask["description_localizations"]["de"] == "Bob etwas fragen"
    prompt, file = ask["options"]
    assert prompt["name_localizations"]["fr"] == "question"
    assert prompt["description_localizations"]["pt-BR"] == "O que você quer saber"
    assert file["name_localizations"]["de"] == "datei"
    assert kept[ASK_ABOUT_THIS]["name_localizations"]["ja"] == "これについて質問"


async def test_commands_that_discord_has_in_these_languages_are_not_sent_again(
    discord: FakeDiscord, bob: Start
) -> None:
    for _ in range(3):
        async with bob():
            await discord.until(lambda discord: discord.requests("GET", REGISTERED), SECONDS)
            await answer(discord, discord.says("ada", discord.dm("ada"), "hello"))
    assert len(discord.requests("PUT", REGISTERED)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"name_localizations": {"de": "frag"}},
        {"name_localizations": {}},
        {"description_localizations": {"de": "Bob etwas fragen", "it": "Chiedi a Bob"}},
        {"options": []},
    ],
)
async def test_commands_that_discord_has_in_other_words_are_sent_again(
    discord: FakeDiscord, bob: Start, change: dict[str, Any]
) -> None:
    async with bob():
        await ready(discord)
    kept = discord._state.commands[None]
    (ask,) = (each for each in kept.values() if each["name"] == "ask")
    before = {**ask}
    ask.update(change)
    async with bob():
        await discord.until(lambda discord: len(discord.requests("PUT", REGISTERED)) == 2, SECONDS)
        await ready(discord)
    same = {name: value for name, value in discord.commands()["ask"].items() if name != "version"}
    assert same == {name: value for name, value in before.items() if name != "version"}


# ── what somebody does ───────────────────────────────────────────────────────────────────────────────────────────────


async def _gives(discord: FakeDiscord, command: str, **options: str) -> str:
    return await read(discord, discord.slash("ada", "general", command, **options))


async def _wrong_password(discord: FakeDiscord) -> str:
    asked = await discord.slash("ada", "general", "unlock")
    assert asked.modal is not None
    title, (field,) = asked.modal.title, asked.modal.fields.values()
    assert (title, field.get("label")) == ("ロック解除", "パスワード")
    return await read(discord, discord.submits("ada", asked, {"password": "111222333"}))


async def _rated(discord: FakeDiscord) -> str:
    message = discord.says("ada", "general", f"{HI} hello")
    await answered(discord, message)
    shown = discord.reply_messages(message)[0]
    good = next(each for each in buttons(shown) if each.startswith("good:"))
    return await read(discord, discord.clicks("ada", shown.id, good))


Does = Callable[[FakeDiscord], Awaitable[str]]
DONE: dict[str, tuple[Does, str]] = {
    "help": (lambda discord: _gives(discord, "help"), HELP.in_language(JAPANESE)),
    "stop": (lambda discord: _gives(discord, "stop"), NOTHING_TO_STOP.in_language(JAPANESE)),
    "new": (lambda discord: _gives(discord, "new"), NOTHING_TO_RESET.in_language(JAPANESE)),
    "lock": (lambda discord: _gives(discord, "lock"), NOTHING_TO_LOCK.in_language(JAPANESE)),
    "assistant": (lambda discord: _gives(discord, "assistant", name="bob"),
                  "これからこのチャンネルでは Bob が回答します。"),
    "a question that is too long": (lambda discord: _gives(discord, "ask", prompt="x" * 1_600),
                                    "質問が 1,500 文字を超えています。"),
    "a wrong password": (_wrong_password, WrongPassword.sentence.in_language(JAPANESE)),
    "thanks": (_rated, THANKS.in_language(JAPANESE)),
}  # fmt: skip


@pytest.mark.parametrize("does", DONE)
async def test_whatever_somebody_does_is_answered_in_their_language(
    discord: FakeDiscord, bob: Start, does: str
) -> None:
    discord.user("ada").locale = JAPANESE
    do, text = DONE[does]
    async with bob(max_question_characters=1_500):
        await ready(discord)
        assert await do(discord) == text


async def test_a_command_that_fails_says_so_in_the_language_of_its_person(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    discord.user("ada").locale = JAPANESE
    fake.fail("POST", "/responses", REFUSED)
    async with bob():
        await ready(discord)
        asked = discord.slash("ada", "general", "ask", prompt="hello")
        await closed(sqlite_url, "failed")
        assert (await read(discord, asked)).startswith(QuestionRefused.sentence.in_language(JAPANESE))
    (turn,) = rows(sqlite_url, "SELECT error FROM turn")
    assert turn["error"].startswith(QuestionRefused.sentence)


async def test_a_command_whose_process_was_killed_fails_in_the_language_of_its_person(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    discord.user("ada").locale = JAPANESE
    held(fake, after=0)
    async with bob() as running:
        await ready(discord)
        asked = discord.slash("ada", "general", "ask", prompt="hello")
        await fake.until(lambda fake: fake.active == 1)
        await running.dies()
    fake.fail("POST", "/responses", REFUSED)
    async with bob():
        await closed(sqlite_url, "failed")
        assert (await read(discord, asked)).startswith(QuestionRefused.sentence.in_language(JAPANESE))


async def test_a_message_without_words_is_told_so_in_the_language_of_who_asks_about_it(
    discord: FakeDiscord, bob: Start
) -> None:
    discord.user("ada").locale = GERMAN
    async with bob():
        await ready(discord)
        message = discord.says("grace", "general", "")
        told = await read(discord, discord.context_menu("ada", message, ASK_ABOUT_THIS))
        assert told == NO_WORDS_TO_READ.in_language(GERMAN)


# ── what is said to messages ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("locale", "language"), [("de", "de"), ("pt-BR", "pt"), ("zh-CN", "zh"), ("sv-SE", "en")])
async def test_in_a_server_a_message_is_answered_in_the_servers_language(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str, locale: str, language: str
) -> None:
    discord.user("ada").locale = "ja"  # which no message tells
    discord.guild("alpha").locale = locale
    fake.fail("POST", "/responses", REFUSED)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        assert (await answer(discord, message)).startswith(QuestionRefused.sentence.in_language(language))
        await closed(sqlite_url, "failed")


async def test_in_a_direct_message_it_is_the_language_that_its_person_last_told_by_a_command(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    discord.user("ada").locale = "fr"
    fake.fail("POST", "/responses", REFUSED, times=2)
    async with bob():
        await ready(discord)
        message = discord.says("ada", discord.dm("ada"), "hello")
        assert (await answer(discord, message)).startswith(QuestionRefused.sentence)
        await read(discord, discord.slash("ada", discord.dm("ada"), "lock"))
        message = discord.says("ada", discord.dm("ada"), "and now?")
        assert (await answered(discord, message))[-1].startswith(QuestionRefused.sentence.in_language("fr"))


async def test_a_thread_and_what_stands_around_an_answer_are_in_the_servers_language(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    discord.guild("alpha").locale = "de"
    async with bob():
        message = discord.says("ada", "general", f"{HI}", attachments=[File("a.txt", b"")])
        text = await answer(discord, message)
        assert text.startswith("_Nicht gesehen habe ich: a.txt (sie ist leer)_")
        thread = discord.thread_of(message)
        assert thread is not None
        assert thread.name == NO_WORDS.in_language("de")
        private = discord.says("ada", "general", f"{HI} {PASSWORD} hello")
        await answer(discord, private)
        thread = discord.thread_of(private)
        assert thread is not None
        assert thread.name == A_CONVERSATION.in_language("de")
        assert discord.texts(discord.dm("ada")) == [OTHERS_CAN_READ_IT.in_language("de")]


async def test_a_stopped_answer_says_so_in_the_servers_language_and_so_does_its_button(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    discord.guild("alpha").locale = "de"
    held(fake)
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        await discord.until(lambda discord: discord.reply_messages(message), SECONDS)
        shown = discord.reply_messages(message)[0]
        (row,) = shown.components or []
        (button,) = row["components"]
        assert button["label"] == "Anhalten"
        await discord.clicks("ada", shown.id, button["custom_id"])
        assert await answer(discord, message) == f"First words. \n\n{STOPPED.in_language('de')}"


async def test_that_the_rest_is_in_a_file_is_said_in_the_servers_language(
    discord: FakeDiscord, fake: FakeOpenAI, bob: Start
) -> None:
    discord.guild("alpha").locale = "de"
    fake.answer = lambda asked: "\n".join(lines(900))
    async with bob():
        message = discord.says("ada", "general", f"{HI} hello")
        texts = await answered(discord, message, parts=20)
        assert texts[-1].endswith(THE_REST_IS_IN_THE_FILE.in_language("de"))
        assert discord.reply_messages(message)[-1].files


async def test_what_discord_refuses_is_told_in_the_servers_language(discord: FakeDiscord, bob: Start) -> None:
    discord.guild("alpha").locale = "es-ES"
    async with bob():
        discord.fail("POST", "/channels/{channel}/messages", code=200000, status=400)
        message = discord.says("ada", "general", f"{HI} hello")
        assert await answer(discord, message) == REFUSED_TEXTS[200000].in_language("es")


async def test_who_may_not_ask_is_told_so_in_the_servers_language_and_a_command_in_theirs(
    discord: FakeDiscord, bob: Start
) -> None:
    discord.guild("alpha").locale, discord.user("ada").locale = "de", "fr"
    async with bob(discord_channels=("1",)):
        await ready(discord)
        message = discord.says("ada", "general", f"{HI} hello")
        await discord.until(lambda discord: ANOTHER_PLACE.in_language("de") in discord.texts("general"), SECONDS)
        assert message
        assert await _gives(discord, "help") == ANOTHER_PLACE.in_language("fr")
