"""Rules for every surface: what people may rely on wherever they talk to Bob."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from core import Chat, PasswordsClosed
from core import chat as core_chat
from tests.bots.conftest import SECONDS, asked, closed, comes_true, held, lines, turns
from tests.bots.running import RunningBob
from tests.conftest import opened
from tests.core.fixtures.database import change, contents, rows
from tests.fakes.openai_api import FakeOpenAI, Reply
from tests.surfaces.driver import SECONDS_LIMITED, Driver, Said

WORDS = ("First words. ", "Last words.")
WHOLE = "".join(WORDS)
PIN = "482913"
A_BUDGET = " ".join(str(100_001 + n) for n in range(20))
SECRET = "treasure-under-the-oak"
WANTS_A_FILE = "a script, as a file"
CODE = "import this\nprint(1)\n"
WITH_CODE = f"First words.\n\n```python\n{CODE}```\n\nLast words."
IN_A_FILE = "First words.\n\n📎 `answer.py`\n\nLast words."
FILES = [("answer.py", CODE.encode())]
TAKING_FILES = pytest.mark.parametrize("driver", ["slack", "slack_posted", "discord"], indirect=True)
WAITING = pytest.mark.in_simulation  # it waits for a clock, which there takes no time
FENCE = "Here it is:\n\n```python\nprint(1)\n"


# ── who is answered, and what ────────────────────────────────────────────────────────────────────────────────────────


async def test_a_person_is_answered(driver: Driver, fake: FakeOpenAI) -> None:
    async with driver.starts():
        assert await driver.answered(driver.says("hello")) == ["You asked: Ada: hello."]
    assert asked(fake) == ["Ada: hello"]


async def test_bob_answers_neither_himself_nor_other_bots(driver: Driver, fake: FakeOpenAI) -> None:
    fake.answer = lambda _: f"Ask {driver.mention} again!"
    async with driver.starts():
        first = driver.says("one")
        await driver.answered(first)
        driver.says("I am a bot", "otherbot")
        driver.says("I am a bot as well", "otherbot", after=first)
        last = driver.says("two", after=first)
        await driver.answered(last)
        assert len(driver.answers(first)) == 2
    questions = [text.rpartition("\n")[2] for text in asked(fake)]  # what other bots say is at most told before them
    assert questions == ["Ada: one", "Ada: two"]
    assert len(turns(driver.database_url)) == 2


async def test_a_message_that_is_delivered_twice_is_answered_once(driver: Driver, fake: FakeOpenAI) -> None:
    async with driver.starts():
        said = driver.says("hello")
        await driver.answered(said)
        await driver.delivers_again(said)
    async with driver.starts():
        await driver.delivers_again(said)
        await comes_true(lambda: all(turn["closed_at"] for turn in turns(driver.database_url)))
        assert driver.answers(said) == ["You asked: Ada: hello."]
    assert asked(fake).count("Ada: hello") == 1


async def test_two_questions_of_a_conversation_are_answered_in_order_and_others_meanwhile(
    driver: Driver, fake: FakeOpenAI
) -> None:
    gate = fake.gate()

    def answer(question: Any) -> Reply:
        if "one" in question.question:
            return Reply(pieces=["Answer to one", ", at last."], gate=gate)
        return Reply(text=f"Answer to {question.question.partition(': ')[2]}.")

    fake.answer = answer
    async with driver.starts():
        one = driver.says("one")
        await driver.reads(one, "Answer to one")
        two = driver.says("two", after=one)
        await comes_true(lambda: driver.turns_of(two))
        aside = driver.says("three", "grace", place="hall")
        assert await driver.answered(aside) == ["Answer to three."]
        assert driver.answers(one) == ["Answer to one"]
        gate.open()
        assert await driver.answered(two) == ["Answer to one, at last.", "Answer to two."]
    assert asked(fake) == ["Ada: one", "Grace: three", "Ada: two"]


# ── how an answer is shown ───────────────────────────────────────────────────────────────────────────────────────────


async def test_the_first_words_can_be_read_before_the_last_ones_are_written(driver: Driver, fake: FakeOpenAI) -> None:
    let_go = held(fake, *WORDS)
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        assert [text.strip() for text in driver.answers(said)] == ["First words."]
        let_go()
        assert await driver.answered(said) == [WHOLE]


async def test_a_long_answer_arrives_whole_and_in_order_in_messages_that_the_platform_takes(
    driver: Driver, fake: FakeOpenAI
) -> None:
    text = "\n".join(lines(5 * driver.limit // 2 // len(lines(1)[0])))
    fake.answer = lambda _: Reply(pieces=[text[at : at + 900] for at in range(0, len(text), 900)])
    async with driver.starts():
        parts = await driver.answered(driver.says("hello"))
    assert len(parts) >= 3
    assert max(map(len, parts)) <= driver.limit
    assert "\n".join(parts).splitlines() == text.splitlines()


async def test_an_answer_without_a_word_is_told_of_in_a_sentence(driver: Driver, fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(incomplete="content_filter")
    async with driver.starts():
        (text,) = await driver.answered(driver.says("hello"))
    assert text.strip() == text
    assert len(text.split()) > 3


async def test_a_whole_answer_can_be_rated(driver: Driver) -> None:
    async with driver.starts():
        said = driver.says("hello")
        await driver.answered(said)
        await driver.rates(said, good=True)
        await comes_true(lambda: rows(driver.database_url, "SELECT * FROM feedback"))
    assert [bool(row["good"]) for row in rows(driver.database_url, "SELECT good FROM feedback")] == [True]


async def test_code_and_tables_are_files_where_a_question_asks_for_that_and_the_surface_takes_them(
    driver: Driver, fake: FakeOpenAI
) -> None:
    fake.answer = lambda _: Reply(pieces=[WITH_CODE[at : at + 7] for at in range(0, len(WITH_CODE), 7)])
    async with driver.starts():
        said, other = driver.says(WANTS_A_FILE), driver.says("hello", "grace", place="hall")
        assert await driver.answered(said) == [IN_A_FILE if driver.takes_files else WITH_CODE]
        assert driver.files(said) == (FILES if driver.takes_files else [])
        assert await driver.answered(other) != [IN_A_FILE]
        assert driver.files(other) == []


# ── controls ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_stop_keeps_what_there_is_and_says_so(driver: Driver, fake: FakeOpenAI) -> None:
    held(fake, *WORDS)
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        driver.stops(said)
        assert await driver.answered(said) == ["First words. \n\n_Stopped._"]
        await fake.until(lambda fake: fake.active == 0)
    await closed(driver.database_url, "stopped")


async def test_what_is_added_to_an_answer_that_ends_within_code_stands_outside_of_the_code(
    driver: Driver, fake: FakeOpenAI
) -> None:
    held(fake, FENCE, "print(2)\n```\n")
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "print(1)")
        driver.stops(said)
        (text,) = await driver.answered(said)
    before, note = text.split("_Stopped._")
    assert "print(1)" in before
    assert note.strip() == ""
    assert sum(line.startswith("```") for line in before.splitlines()) == 2


async def test_an_edit_before_the_answer_has_the_new_text_answered_in_the_same_message(
    driver: Driver, fake: FakeOpenAI
) -> None:
    held(fake, "Old words. ", "More old words.")
    async with driver.starts():
        said = driver.says("one")
        await driver.reads(said, "Old words.")
        held(fake, "New ", "words.")()
        driver.edits(said, "two")
        assert await driver.answered(said) == ["New words."]
    assert asked(fake) == ["Ada: one", "Ada: two"]
    await closed(driver.database_url)


async def test_the_answer_to_a_question_that_is_deleted_is_stopped_and_removed(
    driver: Driver, fake: FakeOpenAI
) -> None:
    held(fake, *WORDS)
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        driver.deletes(said)
        await closed(driver.database_url, "withdrawn")
        await fake.until(lambda fake: fake.active == 0)
        assert driver.answers(said) == []


async def test_an_answer_of_which_a_part_is_deleted_ends_there(driver: Driver, fake: FakeOpenAI) -> None:
    held(fake, *WORDS)
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        await comes_true(lambda: driver.turns_of(said)[0]["posted"])
        driver.deletes_an_answer_to(said)
        await closed(driver.database_url, "stopped")
        await fake.until(lambda fake: fake.active == 0)
        assert "Last words." not in "".join(driver.answers(said))


# ── answers that do not come ─────────────────────────────────────────────────────────────────────────────────────────


async def test_a_question_that_cannot_be_asked_is_told_so_in_one_sentence_once(
    driver: Driver, fake: FakeOpenAI
) -> None:
    async with driver.starts(max_question_characters=20):
        said = driver.says("far too long a question")
        await driver.until(lambda: driver.answers(said))
        await driver.delivers_again(said)
        assert driver.answers(said) == ["The question is longer than 20 characters."]
    assert not any("too long" in question for question in asked(fake))


@pytest.mark.parametrize(
    ("code", "says"), [("invalid_prompt", "rules do not allow"), ("context_length_exceeded", "too long")]
)
async def test_a_failure_is_one_sentence_with_a_reference_below_what_was_shown(
    driver: Driver, fake: FakeOpenAI, code: str, says: str
) -> None:
    gate = fake.gate()
    fake.answer = lambda _: Reply(pieces=["Half an", " answer"], gate=gate, failed=code, message="x-secret")
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "Half an")
        gate.open()
        (text,) = await driver.answered(said)
        await closed(driver.database_url, "failed")
    words, _, sentence = text.partition("\n\n")
    (turn,) = turns(driver.database_url)
    assert words == "Half an answer"
    assert sentence.startswith("Sorry, ")
    assert says in sentence
    assert sentence.endswith(f"(Reference {turn['id'][:8]}.)")
    assert "\n" not in sentence
    assert "x-secret" not in text


async def test_a_failure_after_nothing_but_blank_lines_is_the_sentence_alone(driver: Driver, fake: FakeOpenAI) -> None:
    fake.answer = lambda _: Reply(pieces=[" \n", "\n"], failed="invalid_prompt")
    async with driver.starts():
        (text,) = await driver.answered(driver.says("hello"))
        await closed(driver.database_url, "failed")
    assert text.startswith("Sorry, ")


async def test_where_a_place_refuses_for_good_the_turn_ends_and_others_are_answered(
    driver: Driver, fake: FakeOpenAI
) -> None:
    let_go = held(fake, "First words. ", "\n".join(lines(3 * driver.limit // len(lines(1)[0]))))
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        driver.refuses(said)
        let_go()
        await closed(driver.database_url, "undeliverable")
        held(fake, *WORDS)()
        assert await driver.answered(driver.says("and now?", place="hall")) == [WHOLE]


# ── calls that go wrong ──────────────────────────────────────────────────────────────────────────────────────────────


@WAITING
@pytest.mark.parametrize("call", ["post", "edit"])
@pytest.mark.parametrize("fault", ["down", "lost", "limited"])
async def test_a_call_that_goes_wrong_costs_no_word_shows_none_twice_and_is_made_again_in_time(
    driver: Driver, fake: FakeOpenAI, call: Any, fault: Any
) -> None:
    let_go = held(fake, *WORDS)
    async with driver.starts():
        driver.fails_next(call, fault)
        said = driver.says("hello")
        if call == "edit":
            await driver.reads(said, "First words.")
        elif fault == "limited":
            await comes_true(lambda: driver.limited)
        let_go()
        assert await driver.answered(said) == [WHOLE]
        await closed(driver.database_url)
    assert driver.limited == (fault == "limited")
    assert driver.impatience == []
    assert asked(fake) == ["Ada: hello"]


@WAITING
async def test_an_answer_is_shown_whole_when_the_platform_is_back(driver: Driver, fake: FakeOpenAI) -> None:
    let_go = held(fake, *WORDS)
    async with driver.starts():
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        driver.goes_away()
        let_go()
        await comes_true(lambda: turns(driver.database_url)[0]["outcome"])
        driver.comes_back()
        assert await driver.answered(said) == [WHOLE]
        await closed(driver.database_url)


# ── processes that end ───────────────────────────────────────────────────────────────────────────────────────────────

Moment = Callable[[Driver, FakeOpenAI, RunningBob, pytest.MonkeyPatch], Awaitable[Said]]


async def for_ever(*_: object, **__: object) -> None:
    await asyncio.sleep(SECONDS * 10)


async def _is_asked(driver: Driver, fake: FakeOpenAI, bob: RunningBob, patch: pytest.MonkeyPatch) -> Said:
    """The model is at work, and nothing of its answer is there."""
    held(fake, *WORDS, after=0)
    said = driver.says("hello")
    await fake.until(lambda fake: fake.active == 1)
    return said


async def _is_begun(driver: Driver, fake: FakeOpenAI, bob: RunningBob, patch: pytest.MonkeyPatch) -> Said:
    """The first words can be read, and that is recorded."""
    held(fake, *WORDS)
    said = driver.says("hello")
    await driver.reads(said, "First words.")
    await comes_true(lambda: turns(driver.database_url)[0]["posted"])
    return said


async def _is_begun_and_nobody_knows(
    driver: Driver, fake: FakeOpenAI, bob: RunningBob, patch: pytest.MonkeyPatch
) -> Said:
    """The first words can be read, and the process dies before it has recorded that."""
    patch.setattr(bob.chat, "note_posted", for_ever)
    held(fake, *WORDS)
    said = driver.says("hello")
    await driver.reads(said, "First words.")
    return said


async def _is_shown(
    driver: Driver, fake: FakeOpenAI, bob: RunningBob, patch: pytest.MonkeyPatch, *, question: str = "hello",
    words: Sequence[str] = WORDS,
) -> Said:  # fmt: skip
    """The whole answer can be read, and the process dies before it has closed the turn."""
    closing = asyncio.Event()

    async def closes(*_: object, **__: object) -> None:
        closing.set()
        await for_ever()

    patch.setattr(bob.chat, "shown", closes)
    held(fake, *words)()
    said = driver.says(question)
    await closing.wait()
    return said


MOMENTS: list[Moment] = [_is_asked, _is_begun, _is_begun_and_nobody_knows, _is_shown]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__.strip("_"))
async def test_what_a_killed_process_left_is_made_whole_by_the_next_and_shown_once(
    driver: Driver, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, moment: Moment
) -> None:
    async with driver.starts() as first:
        said = await moment(driver, fake, first, monkeypatch)
        await first.dies()
    was_asked = len(asked(fake))
    held(fake, *WORDS)()
    async with driver.starts():
        assert await driver.answered(said) == [WHOLE]
        await closed(driver.database_url)
    assert len(asked(fake)) - was_asked == (0 if moment is _is_shown else 1)


@WAITING
async def test_a_reclaimer_that_is_killed_as_well_has_a_reclaimer(
    driver: Driver, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driver.starts() as first:
        said = await _is_begun_and_nobody_knows(driver, fake, first, monkeypatch)
        await first.dies()
    held(fake, "Second words. ", "More.")
    async with driver.starts() as second:
        await driver.reads(said, "Second words.")
        await second.dies()
    held(fake, *WORDS)()
    async with driver.starts():
        assert await driver.answered(said) == [WHOLE]
        await closed(driver.database_url)


async def test_messages_that_a_reclaimer_does_not_need_are_removed(driver: Driver, fake: FakeOpenAI) -> None:
    held(fake, "\n".join(lines(5 * driver.limit // 2 // len(lines(1)[0]))), "More.")
    async with driver.starts() as first:
        said = driver.says("hello")
        await comes_true(lambda: sum(str(each["posted"]).count("{") for each in driver.turns_of(said)) >= 3)
        await first.dies()
    held(fake, *WORDS)()
    async with driver.starts():
        assert await driver.answered(said) == [WHOLE]
        await closed(driver.database_url)


async def test_a_process_that_runs_beside_reclaims_what_a_killed_one_left(
    driver: Driver, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_chat, "HEARTBEAT_SECONDS", 0.1)
    held(fake, *WORDS)
    async with driver.starts() as one:
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        async with driver.starts():
            held(fake, *WORDS)()
            await one.dies()
            assert await driver.answered(said) == [WHOLE]
            await closed(driver.database_url)


async def test_a_process_that_is_told_to_end_ends_what_it_accepted_and_leaves_the_rest_to_the_next(
    driver: Driver, fake: FakeOpenAI
) -> None:
    let_go = held(fake, *WORDS)
    async with driver.starts(drain_seconds=SECONDS) as running:
        one = driver.says("one")
        await driver.reads(one, "First words.")
        two = driver.says("two", after=one)
        await comes_true(lambda: driver.turns_of(two))
        ending = asyncio.create_task(running.ends())
        await comes_true(lambda: running.chat.draining)
        late = driver.says("three", place="hall")
        let_go()
        await ending
        assert driver.answers(one) == [WHOLE, WHOLE]
        await closed(driver.database_url, "answered", "answered")
    async with driver.starts():
        assert await driver.answered(late) == [WHOLE]


@TAKING_FILES
async def test_a_file_that_a_killed_process_showed_is_not_shown_again(
    driver: Driver, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with driver.starts() as first:
        said = await _is_shown(driver, fake, first, monkeypatch, question=WANTS_A_FILE, words=(WITH_CODE,))
        assert driver.files(said) == FILES
        await first.dies()
    async with driver.starts():
        assert await driver.answered(said) == [IN_A_FILE]
        assert driver.files(said) == FILES


@TAKING_FILES
async def test_who_lost_the_lease_shows_no_file(
    driver: Driver, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_chat, "HEARTBEAT_SECONDS", 3600.0)  # it stands still, so it does not hear of its loss
    first_words, rest = WITH_CODE[:14], WITH_CODE[14:]
    let_go = held(fake, first_words, rest)
    async with driver.starts() as one:
        said = driver.says(WANTS_A_FILE)
        await driver.reads(said, "First words.")
        await comes_true(lambda: turns(driver.database_url)[0]["posted"])
        async with opened(fake, driver.database_url) as other:
            loses_the_lease(one, to=other)
            before = driver.writes
            let_go()
            await comes_true(lambda: driver.writes > before or not is_showing())
            assert driver.writes == before
            assert driver.files(said) == []
            await one.ends()
    async with driver.starts():
        assert await driver.answered(said) == [IN_A_FILE]
        assert driver.files(said) == FILES


@WAITING
@pytest.mark.parametrize("waits", [False, True], ids=["before_a_call", "while_a_call_waits"])
async def test_who_lost_the_lease_writes_nothing_more(
    driver: Driver, fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    monkeypatch.setattr(core_chat, "HEARTBEAT_SECONDS", 3600.0)  # it stands still, so it does not hear of its loss
    gate = fake.gate()
    rest = ["Last words."] if waits else ["More words. ", SECONDS, "Last words."]  # a call that waits is the last one
    fake.answer = lambda _: Reply(pieces=["First words. ", *rest], gate=gate)
    async with driver.starts() as one:
        said = driver.says("hello")
        await driver.reads(said, "First words.")
        await comes_true(lambda: turns(driver.database_url)[0]["posted"])
        async with opened(fake, driver.database_url) as other:
            if waits:
                driver.fails_next("edit", "limited")
                gate.open()
                await driver.until(lambda: driver.limited)
            loses_the_lease(one, to=other)
            before = driver.writes
            gate.open()
            await comes_true(lambda: driver.writes > before or not is_showing())
            assert driver.writes == before
            await one.ends()
            assert driver.writes == before
    if waits:  # a process that comes later does not know that it would have to
        await asyncio.sleep(SECONDS_LIMITED)
    held(fake, *WORDS)()
    async with driver.starts():
        assert await driver.answered(said) == [WHOLE]
        await closed(driver.database_url)


def is_showing() -> bool:
    """Whether any answer is still being shown in this event loop."""
    names = [getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()]
    return "Responder._respond" in names


def loses_the_lease(one: RunningBob, *, to: Chat) -> None:
    """Let another process have the only turn, which does nothing with it. The one has stood still and does not know."""
    owner, (turn,) = to._store._liveness.lease_owner, turns(one.database_url)
    to._answering.take_in_hand(turn["id"], "its session", fencing_token=turn["fencing_token"] + 1)
    change(one.database_url, "UPDATE turn SET lease_owner = :o, fencing_token = fencing_token + 1", o=owner)
    one.chat._last_heartbeat = -math.inf


# ── passwords and privacy ────────────────────────────────────────────────────────────────────────────────────────────


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """What our own code logs."""
    ours = ("bots", "core", "tests")
    return "\n".join(each.getMessage() for each in caplog.records if each.name.partition(".")[0] in ours)


async def test_the_password_opens_private_bob_and_is_nowhere_else(
    driver: Driver, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with driver.starts(private_bob_password=PIN):
        said = driver.says(f"{PIN} what of {SECRET}?")
        (text,) = await driver.answered(said)
        assert text == f"🔒 _Private-Bob_\n\nYou asked: Ada: what of {SECRET}?."
        public = driver.says("and now?", "grace", place="hall")
        assert await driver.answered(public) == ["You asked: Grace: and now?."]
    assert PIN not in contents(driver.database_url) + fake.texts() + logged(caplog)


async def test_who_has_said_too_many_wrong_passwords_is_closed_out_alone_and_in_one_constant_sentence(
    driver: Driver, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with driver.starts(private_bob_password=PIN):
        await driver.answered(driver.says(A_BUDGET, place="hall"))
        for word in (PIN, "100777"):
            assert await driver.answered(driver.says(f"{word} {SECRET}")) == [PasswordsClosed.sentence]
        kept = contents(driver.database_url) + fake.texts() + logged(caplog)
        assert [word for word in (PIN, "100777", SECRET) if word in kept] == []
        (text,) = await driver.answered(driver.says(f"{PIN} and I?", "grace"))
        assert text.startswith("🔒 _Private-Bob_\n\n")
    outcomes: Sequence[str] = [turn["outcome"] for turn in turns(driver.database_url)]
    assert outcomes == ["answered", "refused", "refused", "answered"]


async def test_the_first_answer_after_an_unlock_has_lapsed_says_so_and_no_later_one(driver: Driver) -> None:
    async with driver.starts(private_bob_password=PIN) as running:
        first = driver.says("hello")
        await driver.answered(first)
        (turn,) = turns(driver.database_url)
        await running.chat.unlock(turn["person"], driver.place_of(first), turn["surface"], PIN)

        async def last_after(text: str) -> str:
            return (await driver.answered(driver.says(text, after=first)))[-1]

        assert (await last_after("one")).startswith("🔒 _Private-Bob_\n\n")
        change(driver.database_url, "UPDATE unlock SET until = until - 901")
        lapsed = await last_after("two")
        assert lapsed.startswith("_Private-Bob is locked again here, so this is answered by Bob._\n\n")
        assert (await last_after("three")).startswith("You asked: Ada: three.")


async def test_nothing_of_what_people_or_models_say_is_logged_whatever_goes_wrong(
    driver: Driver, fake: FakeOpenAI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = iter([Reply(text=f"Yes, {SECRET}."), Reply(pieces=["Half"], failed="invalid_prompt", message=SECRET)])
    fake.answer = lambda _: next(answers)
    async with driver.starts(max_question_characters=60):
        for call, fault in (("post", "down"), ("post", "lost"), ("edit", "down")):
            driver.fails_next(call, fault)  # type: ignore[arg-type]
        await driver.answered(driver.says(f"one {SECRET}"))
        await driver.answered(driver.says(f"two {SECRET}"))
        bad = driver.says(f"three {SECRET}" * 3)
        await driver.until(lambda: driver.answers(bad))
    assert "turn" in logged(caplog)
    assert SECRET not in logged(caplog)
