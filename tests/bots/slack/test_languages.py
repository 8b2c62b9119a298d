"""Bob's own words in Slack are in the language of whoever asks, as Slack tells it; a model hears nothing of that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bots.shared.controls import NOTHING_TO_LOCK, NOTHING_TO_RESET, THANKS
from bots.shared.responder import STOPPED
from bots.shared.words import NOT_SEEN
from bots.slack.commands import FORGET, HELP, SUGGESTED_PROMPTS, UNLOCK, WHAT_FORGETTING_DOES, WHAT_UNLOCKING_DOES
from bots.slack.prepare import ANOTHER_CHANNEL, NOT_ON_THE_LIST, OTHERS_CAN_READ_IT
from bots.slack.reply import CANNOT_SAY_IT_THERE, GOOD_ANSWER
from core import Sentence, WrongPassword
from core.errors import QuestionRefused
from tests.bots.conftest import HI, SECONDS, Start, answered, asked, closed, comes_true, held, settled, shown, turns
from tests.conftest import PASSWORD
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Status
from tests.fakes.slack_api import FakeSlack

REFUSED = Status(400, "invalid_prompt")
LOCALES = [
    ("de-DE", "de"), ("fr-FR", "fr"), ("es-LA", "es"), ("pt-BR", "pt"), ("ja-JP", "ja"), ("zh-TW", "zh"),
    ("sv-SE", "en"),
]  # fmt: skip


@pytest.mark.parametrize(("locale", "language"), LOCALES)
async def test_why_there_is_no_answer_is_said_in_the_askers_language_and_stored_in_english(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, locale: str, language: str
) -> None:
    slack.speaks("U1", locale)
    fake.fail("POST", "/responses", REFUSED)
    async with bob():
        sentence = await answered(slack, "C1", slack.says("U1", "C1", f"{HI} hello"))
        await closed(sqlite_url, "failed")
    assert sentence.startswith(QuestionRefused.sentence.in_language(language))
    (turn,) = rows(sqlite_url, "SELECT id, error FROM turn")
    assert turn["id"][:8] in sentence
    assert turn["error"] == f"{QuestionRefused.sentence} (Reference {turn['id'][:8]}.)"


async def test_it_is_in_their_language_too_where_another_process_fails_at_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str
) -> None:
    slack.speaks("U1", "de-DE")
    held(fake, after=0)
    async with bob() as running:
        ts = slack.says("U1", "C1", f"{HI} hello")
        await fake.until(lambda fake: fake.active == 1)
        await running.dies()
    fake.fail("POST", "/responses", REFUSED)
    async with bob():
        assert (await answered(slack, "C1", ts)).startswith(QuestionRefused.sentence.in_language("de"))
        await closed(sqlite_url, "failed")


async def test_it_is_in_their_language_too_where_another_process_only_says_it(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack.speaks("U1", "de-DE")
    fake.fail("POST", "/responses", REFUSED)
    async with bob() as running:
        works = running.slack._api.client.api_call

        async def hangs(method: str, **arguments: Any) -> AsyncSlackResponse:
            if method.startswith("chat."):
                await asyncio.get_running_loop().create_future()
            return await works(method, **arguments)

        monkeypatch.setattr(running.slack._api.client, "api_call", hangs)
        ts = slack.says("U1", "C1", f"{HI} hello")
        await comes_true(lambda: [turn["outcome"] for turn in turns(sqlite_url)] == ["failed"])
        await running.dies()
    async with bob():
        sentence = await answered(slack, "C1", ts)
        await closed(sqlite_url, "failed")
    assert sentence.startswith(QuestionRefused.sentence.in_language("de"))
    assert "(Kennung " in sentence


async def test_each_of_two_in_a_thread_is_answered_in_their_own(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    slack.speaks("U1", "de-DE")
    slack.speaks("U2", "fr-FR")
    fake.fail("POST", "/responses", REFUSED, times=2)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await settled(slack, "C1", ts)
        slack.says("U2", "C1", f"{HI} bonjour", thread_ts=ts)
        first, second = await settled(slack, "C1", ts, 2)
    assert first.startswith(QuestionRefused.sentence.in_language("de"))
    assert second.startswith(QuestionRefused.sentence.in_language("fr"))


async def test_where_slack_does_not_tell_it_is_english_and_waits_for_nothing(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.speaks("U1", "de-DE")
    slack.fail("users.info", "user_not_found", times=None)
    fake.fail("POST", "/responses", REFUSED)
    async with bob():
        assert (await answered(slack, "D1", slack.says("U1", "D1", "hello"))).startswith(QuestionRefused.sentence)
        assert await slack.slash("U1", "D1", "/bob", "lock")
    assert len([call for call in slack.calls if call.method == "users.info"]) == 1


async def test_a_model_is_told_nothing_of_it(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    async def heard(locale: str) -> tuple[str, str]:
        slack.speaks("U1", locale)
        async with bob():
            ts = slack.says("U1", "D1", "hello", files=[slack.add_file("a.txt", b"")])
            assert "You asked: hello" in await answered(slack, "D1", ts)
        return asked(fake)[-1], str(fake.requests[-1].json)

    in_english, _ = await heard("en-US")
    in_german, request = await heard("de-DE")
    assert in_german == in_english
    assert NOT_SEEN[:10] not in request
    assert "gesehen" not in request


# ── beside an answer ─────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_stands_around_an_answer_is_in_their_language(
    slack: FakeSlack, fake: FakeOpenAI, bob: Start
) -> None:
    slack.speaks("U1", "de-DE")
    async with bob():
        ts = slack.says("U1", "D1", "hello", files=[slack.add_file("a.txt", b"")])
        text = await answered(slack, "D1", ts)
        (message,) = slack.bot_messages("D1", ts)
    assert text.startswith("_Nicht gesehen habe ich: a.txt (sie ist leer)_\n\nYou asked: ")
    assert GOOD_ANSWER.in_language("de") in str(message.blocks)


async def test_that_it_was_stopped_is_said_in_their_language(slack: FakeSlack, fake: FakeOpenAI, bob: Start) -> None:
    slack.speaks("U1", "ja-JP")
    held(fake)
    async with bob():
        ts = slack.says("U1", "C1", f"{HI} hello")
        await shown(slack, "C1", ts, "First words.")
        slack.says("U1", "C1", "stop", thread_ts=ts)
        await shown(slack, "C1", ts, STOPPED.in_language("ja"))


async def test_who_cannot_be_answered_there_is_told_so_in_their_language(slack: FakeSlack, bob: Start) -> None:
    slack.speaks("U1", "es-ES")
    for method in ("chat.startStream", "chat.postMessage"):
        slack.fail(method, "is_archived", times=1)
    async with bob():
        slack.says("U1", "C1", f"{HI} hello")
        await slack.until(lambda slack: slack.ephemerals("C1", "U1"), SECONDS)
        assert [message.visible for message in slack.ephemerals("C1", "U1")] == [CANNOT_SAY_IT_THERE.in_language("es")]


async def test_who_types_a_password_is_warned_in_their_language(slack: FakeSlack, bob: Start) -> None:
    slack.speaks("U1", "fr-FR")
    async with bob():
        slack.says("U1", "C1", f"{HI} {PASSWORD} hello")
        await slack.until(lambda slack: slack.ephemerals("C1", "U1"), SECONDS)
        assert [message.visible for message in slack.ephemerals("C1", "U1")] == [OTHERS_CAN_READ_IT.in_language("fr")]


# ── commands, windows and buttons ────────────────────────────────────────────────────────────────────────────────────


async def _typed(slack: FakeSlack, text: str) -> str:
    return str((await slack.slash("U1", "C1", "/bob", text)).text)


async def _said(slack: FakeSlack, text: str) -> str:
    return await answered(slack, "D1", slack.says("U1", "D1", text))


def _window_of(slack: FakeSlack) -> str:
    view = slack.open_views("U1")[-1]
    return f"{view['title']['text']}|{view['blocks'][0]['text']['text']}|{view['submit']['text']}"


async def _unlock_window(slack: FakeSlack, _: str) -> str:
    await slack.slash("U1", "C1", "/bob", "unlock")
    await slack.until(lambda slack: slack.open_views("U1"))
    return _window_of(slack)


async def _wrong_password(slack: FakeSlack, _: str) -> str:
    await _unlock_window(slack, "")
    submitted = await slack.submits("U1", slack.open_views("U1")[-1]["id"], {"password": {"typed": "111222333"}})
    return str(submitted.errors["password"])


async def _forget_window(slack: FakeSlack, _: str) -> str:
    await slack.shortcut("U1", "C1", slack.says("U1", "C1", "good morning"), "forget_thread")
    await slack.until(lambda slack: slack.open_views("U1"))
    return _window_of(slack)


async def _rated(slack: FakeSlack, _: str) -> str:
    ts = slack.says("U1", "C1", f"{HI} hello")
    await answered(slack, "C1", ts)
    await slack.clicks("U1", "C1", slack.bot_messages("C1", ts)[0].ts, "feedback", "good")
    await slack.until(lambda slack: slack.ephemerals("C1", "U1"))
    return slack.ephemerals("C1", "U1")[0].visible


async def _asked_by_command(slack: FakeSlack, text: str) -> str:
    await slack.slash("U1", "C1", "/bob", text)
    await slack.until(lambda slack: [each for each in slack.messages("C1") if each.by_bot])
    return next(each.visible for each in slack.messages("C1") if each.by_bot)


async def _offered(slack: FakeSlack, _: str) -> str:
    slack.opens_messages_tab("U1")
    await slack.until(lambda slack: slack.prompts)
    return "|".join(prompt["title"] for prompt in slack.prompts["D1", ""])


Does = Callable[[FakeSlack, str], Awaitable[str]]
LISTED = "Antworten können: Bob. `assistant NAME` legt fest, wer in diesem Kanal antwortet."
DONE: dict[str, tuple[Does, str, str]] = {
    "help by command": (_typed, "help", HELP.in_language("de")),
    "help in words": (_said, "help", HELP.in_language("de")),
    "nothing to lock": (_typed, "lock", NOTHING_TO_LOCK.in_language("de")),
    "who can answer": (_typed, "assistant", LISTED),
    "a choice": (_typed, "assistant bob", "Bob antwortet ab jetzt in diesem Kanal."),
    "nothing to reset": (_said, "reset", NOTHING_TO_RESET.in_language("de")),
    "too long": (_said, "x" * 1_600, "Die Frage ist länger als 1.500 Zeichen."),
    "a question": (_asked_by_command, "what is new?", "<@U1> fragt: what is new?"),
    "a window for a password": (
        _unlock_window, "", f"{UNLOCK.in_language('de')}|{WHAT_UNLOCKING_DOES.in_language('de')}|Entsperren"
    ),
    "a wrong password": (_wrong_password, "", WrongPassword.sentence.in_language("de")),
    "a window to forget": (
        _forget_window, "", f"{FORGET.in_language('de')}|{WHAT_FORGETTING_DOES.in_language('de')}|Vergessen"
    ),
    "thanks": (_rated, "", THANKS.in_language("de")),
    "what can be asked": (_offered, "", "|".join(title.in_language("de") for title, _ in SUGGESTED_PROMPTS)),
}  # fmt: skip


@pytest.mark.parametrize("does", DONE)
async def test_whatever_somebody_does_is_answered_in_their_language(slack: FakeSlack, bob: Start, does: str) -> None:
    slack.speaks("U1", "de-AT")
    do, text, answer = DONE[does]
    async with bob(max_question_characters=1_500):
        assert await do(slack, text) == answer


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [({"slack_channels": ("C2",)}, ANOTHER_CHANNEL), ({"slack_people": ("U2",)}, NOT_ON_THE_LIST)],
)
async def test_who_may_not_ask_is_told_so_in_their_language(
    slack: FakeSlack, bob: Start, settings: dict[str, Any], refusal: Sentence
) -> None:
    slack.speaks("U1", "pt-BR")
    async with bob(**settings):
        assert await answered(slack, "C1", slack.says("U1", "C1", f"{HI} hello")) == refusal.in_language("pt")
        assert await _typed(slack, "help") == refusal.in_language("pt")
