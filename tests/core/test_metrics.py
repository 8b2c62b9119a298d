"""What is counted and timed: each turn once, each label one of few values, and nothing of who, where or what."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from core import Answer, Chat, LeaseLost, NotAllowed, Outcome, Preparation, Question, StoreUnavailable, Turn
from core.breaker import FAILURES
from core.language_model import TroubleKind
from core.metrics import FAULTS, MOST_COUNTED, MOST_SURFACES, OTHER, STORE_WORK, Figures, Metrics
from core.timeline import LEFT, LOST, PHASES, Timeline
from core.turns import Usage
from tests.bots.conftest import comes_true
from tests.conftest import opened
from tests.core.fixtures.database import change
from tests.core.fixtures.metrics import scraped
from tests.core.fixtures.store import part_of
from tests.fakes.openai_api import FakeOpenAI, Reply, Status

MARK = "zebra4711"
SESSION = "web:public:1"

# All that a label may say, but for versions, and the models that assistants have.
VALUES: dict[str, set[str]] = {
    "surface": {"web", "slack", "discord", OTHER},
    "fate": {"accepted", "joined", "duplicate", "reclaimed"},
    "outcome": {*Outcome, LOST, LEFT},
    "phase": {*PHASES},
    "work": {*STORE_WORK},
    "fault": {*FAULTS},
    "state": {"waiting", "out_of_reach"},
    "kind": {"input", "output", *(each.name.lower() for each in TroubleKind)},
    "model": {"gpt-6-luna", "gpt-6.1-terra"},
    "version": set(),
}


async def accepted(chat: Chat, text: str = "Q1-a", surface: str = "web", **more: object) -> Turn:
    turn = await chat.accept(Question(surface, SESSION, text, **more))  # type: ignore[arg-type]
    assert turn is not None
    return turn


async def ended(chat: Chat) -> None:
    """Come back once nothing is in hand."""
    await comes_true(lambda: not chat._answering.in_hand)


def labels_in(text: str) -> set[tuple[str, str]]:
    families = text_string_to_metric_families(text)
    samples = (sample for family in families for sample in family.samples)
    return {(name, value) for sample in samples for name, value in sample.labels.items() if name != "le"}


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_turn_is_counted_once_with_its_outcome_and_timed_to_its_first_text_and_its_end(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        turn = await accepted(chat, event_id="e")
        await chat.answering(turn).whole()
        assert await chat.accept(Question("web", SESSION, "Q1-a", event_id="e")) is None
        await ended(chat)
        now = await scraped(chat)
    assert (now["bob_questions_total", "accepted", "web"], now["bob_questions_total", "duplicate", "web"]) == (1, 1)
    assert {name: value for name, value in now.items() if name[0] == "bob_turns_total"} == {
        ("bob_turns_total", "answered", "web"): 1
    }
    first, whole = now["bob_turn_first_text_seconds_sum", "web"], now["bob_turn_seconds_sum", "web"]
    assert 0 < first <= whole
    assert now["bob_turn_first_text_seconds_count", "web"] == now["bob_turn_seconds_count", "web"] == 1
    phases = sum(now["bob_turn_phase_seconds_sum", phase, "web"] for phase in PHASES)
    assert phases == pytest.approx(whole)
    assert now["bob_model_tokens_total", "output", "gpt-6-luna"] > 0


async def test_a_turn_that_is_shown_is_timed_until_then_and_counted_as_what_became_of_it(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async def prepare(turn: Turn) -> Preparation:
        if turn.question == "No":
            raise NotAllowed
        return Preparation()

    async with opened(fake, sqlite_url) as chat:
        for text, undeliverable in (("Yes", None), ("Nowhere", "is_archived"), ("No", None)):
            turn = await accepted(chat, text, "slack", destination={})
            answer = chat.answering(turn, prepare=prepare)
            await answer.ended()
            if not undeliverable:
                assert (await scraped(chat))["bob_turns_in_hand", "show"] == 1
            await chat.shown(turn, undeliverable=undeliverable)
            await ended(chat)
        now = await scraped(chat)
    turns = {name[1]: value for name, value in now.items() if name[0] == "bob_turns_total"}
    assert turns == {"answered": 1, "undeliverable": 1, "refused": 1}
    assert now["bob_turn_phase_seconds_count", "prepare", "slack"] == 3
    assert now["bob_turn_phase_seconds_count", "show", "slack"] == 3
    assert now["bob_turns_in_hand", "show"] == 0


async def test_a_turn_whose_lease_is_lost_is_counted_as_lost_and_not_as_answered(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        turn = await accepted(chat, surface="slack", destination={})
        await chat.answering(turn).whole()
        change(sqlite_url, "UPDATE turn SET fencing_token = 2, lease_owner = 'another'")
        with pytest.raises(LeaseLost):
            await chat.shown(turn)
        chat.release(turn)
        await ended(chat)
        now = await scraped(chat)
    assert {name[1]: value for name, value in now.items() if name[0] == "bob_turns_total"} == {LOST: 1}
    assert now["bob_turn_seconds_count", "slack"] == 0


async def test_a_turn_that_is_left_to_others_is_counted_as_left(fake: FakeOpenAI, sqlite_url: str) -> None:
    gate = fake.gate()
    fake.answer = lambda asked: Reply(pieces=("Half, ", "rest."), gate=gate)
    async with opened(fake, sqlite_url) as chat:
        answer: Answer = chat.answering(await accepted(chat))
        await fake.until(lambda _: gate.waiting == 1)
        asyncio.get_running_loop().call_soon(chat.begin_draining)
    await answer.ended()
    counted = chat.metrics.exposition("")[1].decode()
    assert f'bob_turns_total{{outcome="{LEFT}",surface="web"}} 1.0' in counted
    gate.open()


# ── the model ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_goes_wrong_with_the_model_is_counted_by_kind_and_so_is_a_circuit_that_opens(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    async with opened(fake, sqlite_url) as chat:
        fake.fail("POST", "/responses", Status(402, message="Insufficient credits"), times=None)
        for number in range(FAILURES.turns):
            turn = await chat.accept(Question("web", f"web:public:{number}", "Q1-a"))
            assert turn is not None
            await chat.answering(turn).ended()
        await ended(chat)
        now = await scraped(chat)
    assert now["bob_model_errors_total", "out_of_quota"] == FAILURES.turns
    assert now["bob_model_circuits_open", "key"] == 1
    assert now["bob_model_circuits_open", "server"] == 0
    assert now["bob_turns_total", "failed", "web"] == FAILURES.turns


# ── the store ────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_open_turns_of_all_processes_are_counted_and_the_age_of_the_oldest_is_told(
    fake: FakeOpenAI, database_url: str
) -> None:
    async with opened(fake, database_url) as chat:
        assert (await scraped(chat))["bob_oldest_open_turn_seconds",] == 0
        for n in range(3):
            await accepted(chat, f"Q{n}-a", "discord" if n else "slack", destination={})
        change(database_url, "UPDATE turn SET accepted_at = accepted_at - 100, started_at = 1 WHERE number = 1")
        change(database_url, "INSERT INTO erasure VALUES ('c1', 'another scope', 0, 0), ('c2', 'and another', 0, 0)")
        now = await scraped(chat)
        scope = chat._threads._model.scope
        counted = await chat._store.figures.count(scope)
    assert (now["bob_open_turns", "slack"], now["bob_waiting_turns", "slack"]) == (1, 0)
    assert (now["bob_open_turns", "discord"], now["bob_waiting_turns", "discord"]) == (2, 2)
    assert 100 <= now["bob_oldest_open_turn_seconds",] < 200
    assert (now["bob_erasures", "waiting"], now["bob_erasures", "out_of_reach"]) == (0, 2)
    assert now["bob_store_up",] == 1
    assert all(now["bob_store_seconds_count", work] > 0 for work in STORE_WORK)
    assert counted.open == {"slack": 1, "discord": 2}


async def test_the_store_is_asked_once_in_some_seconds_however_often_somebody_scrapes(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    count = part_of("count").count

    async def counting(part: object, scope: str) -> Figures:
        nonlocal asked
        asked += 1
        figures: Figures = await count(part, scope)
        return figures

    async with opened(None, sqlite_url) as chat:
        monkeypatch.setattr(part_of("count"), "count", counting)
        for _ in range(5):
            await chat.exposition("")
    assert asked == 1


async def test_a_store_that_does_not_answer_is_told_and_so_is_all_that_is_known_without_it(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise StoreUnavailable

    async with opened(None, sqlite_url) as chat:
        await chat.answering(await accepted(chat)).whole()
        assert (await scraped(chat))["bob_store_up",] == 1
        monkeypatch.setattr(part_of("count"), "count", fails)
        now = await scraped(chat)
    assert now["bob_store_up",] == 0
    assert ("bob_open_turns", "web") not in now
    assert now["bob_questions_total", "accepted", "web"] == 1


# ── what it never says ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_nothing_that_people_write_or_are_called_is_in_it_and_each_label_has_one_of_few_values(
    fake: FakeOpenAI, sqlite_url: str
) -> None:
    fake.answer = lambda asked: f"{MARK} you too"
    async with opened(fake, sqlite_url, private_bob_password=f"{MARK}-hunter2-hunter2-hunter2") as chat:
        for text in (f"{MARK}?", f"{MARK}-hunter2-hunter2-hunter2 hello"):
            question = Question(
                "web", f"web:public:{MARK}", text, event_id=f"{MARK}{text}", person=MARK, place=MARK, address=MARK
            )
            turn = await chat.accept(question)
            assert turn is not None
            await chat.answering(turn).whole()
        fake.fail("POST", "/responses", Status(400, message=f"I do not like {MARK}"))
        turn = await chat.accept(Question("web", f"web:public:{MARK}", MARK))
        assert turn is not None
        await chat.answering(turn).ended()
        await ended(chat)
        await scraped(chat)
        text = (await chat.exposition(""))[1].decode()
    assert MARK not in text
    for name, value in labels_in(text):
        assert name == "version" or value in VALUES[name], (name, value)


def test_names_of_surfaces_and_models_that_nobody_foresaw_do_not_make_series_without_end() -> None:
    metrics = Metrics()
    odd = [f"surface{n}" for n in range(1_000)]
    for surface in ("web", "Alice Smith", "a" * 21, "x\ny", 'q"q', "", MARK + "!", *odd):
        metrics.question(surface, "accepted")
        for model in (surface, f"{surface} {surface}"):
            timeline = Timeline()
            timeline.used(model, Usage(1, 1))
            metrics.turn_ended(surface, timeline, is_reclaimed=False)
        metrics.connected(surface)
        metrics.rate_limited(surface, -1.0)
    metrics.note_figures(Figures({each: 1 for each in odd}, {}, 0.0, 0, 0))
    text = metrics.exposition("")[1].decode()
    found = labels_in(text)
    assert len({value for name, value in found if name == "surface"}) == MOST_SURFACES + 1
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", value) for name, value in found if name == "surface")
    assert len(text.splitlines()) < 2_000
    assert f'bob_open_turns{{surface="{OTHER}"}} {1_000 - MOST_SURFACES + 1}' in text


def test_each_time_counts_in_every_bucket_that_it_is_not_longer_than() -> None:
    metrics = Metrics()
    for seconds in (0.0, 0.001, 0.0011, 1.0, 10.0, 11.0):
        metrics.store_timers["read"](seconds)
    (family,) = (
        each
        for each in text_string_to_metric_families(metrics.exposition("")[1].decode())
        if each.name == "bob_store_seconds"
    )
    read = [sample for sample in family.samples if sample.labels["work"] == "read"]
    counts = {sample.labels["le"]: sample.value for sample in read if "le" in sample.labels}
    assert (counts["0.001"], counts["0.0025"], counts["0.5"], counts["1.0"]) == (2, 3, 3, 4)
    assert (counts["10.0"], counts["+Inf"]) == (5, 6)
    assert list(counts.values()) == sorted(counts.values())
    others = {sample.name: sample.value for sample in read if "le" not in sample.labels}
    assert others == {"bob_store_seconds_count": 6, "bob_store_seconds_sum": pytest.approx(22.0021)}


async def test_two_chats_in_one_process_do_not_count_each_others_turns(sqlite_url: str, tmp_path: Path) -> None:
    async with opened(None, sqlite_url) as one, opened(None, f"sqlite:///{tmp_path}/other.db") as other:
        await one.answering(await accepted(one)).whole()
        assert (await scraped(one))["bob_questions_total", "accepted", "web"] == 1
        assert (await scraped(other))["bob_questions_total", "accepted", "web"] == 0


async def test_what_the_store_is_asked_counts_up_to_a_bound(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.store.figures.MOST_COUNTED", 2)
    assert MOST_COUNTED > 2
    async with opened(None, database_url) as chat:
        for n in range(4):
            await accepted(chat, f"Q{n}-a", "slack", destination={})
        change(database_url, "INSERT INTO erasure VALUES ('1', 's', 0, 0), ('2', 's', 0, 0), ('3', 's', 0, 0)")
        now = await scraped(chat)
    assert (now["bob_open_turns", "slack"], now["bob_erasures", "out_of_reach"]) == (2, 2)
