"""The judge stands outside of the processes: he reads what the model was told and what people were shown."""

from __future__ import annotations

import collections

from tests.acceptance.chaos.answers import answer_in, is_apology
from tests.acceptance.chaos.talks import SECONDS_TO_ANSWER, Crowd, Talk, WebTalk
from tests.acceptance.chaos.verdict import Verdict
from tests.acceptance.chaos.world import World
from tests.core.fixtures.database import rows
from tests.simulated.checker import check
from tests.simulated.history import Asked, History, Session

# discord.py does so where a connection was cut before its session had begun; Discord then has it begin one.
RESUMED_TOO_EARLY = "RESUME at the URL for new sessions, not at resume_gateway_url"


async def judge(trial: str, world: World, crowd: Crowd) -> Verdict:
    """Count what became of everything that was asked, and have the processes end."""
    verdict = Verdict(trial, world.seed, events=crowd.asked, kills=world.fleet.kills)
    for talk in crowd.talks:
        if isinstance(talk, WebTalk):
            verdict.doubled += await talk.ask_again()
    await world.fleet.close()
    for talk in crowd.talks:
        _judge_talk(talk, verdict, world.model.poisonous)
    given_up = sum(times for trouble, times in world.site.troubles.items() if "gave it up" in trouble)
    verdict.apologies += given_up  # whoever asked over HTTP has asked anew
    verdict.lost += given_up
    _judge_patience(crowd, verdict)
    verdict.told_twice = len(world.openai.questions_told_twice())
    verdict.asked_again = sum(times - 1 for times in world.model.asked.values())
    verdict.faults += [*world.fleet.faults, *world.openai.violations, *world.slack.violations]
    verdict.faults += [each for each in world.discord.violations if each != RESUMED_TOO_EARLY]
    if deadlocks := _deadlocks(world.settings["DATABASE_URL"]):
        verdict.faults.append(f"PostgreSQL had to break {deadlocks} deadlocks, each after a second")
    return verdict


def _judge_patience(crowd: Crowd, verdict: Verdict) -> None:
    """Note the slowest answer, and those that nobody would have waited for."""
    took = [each.answered_at - each.said_at for talk in crowd.talks for each in talk.events if each.answered_at]
    verdict.measured["slowest answer"] = f"{max(took, default=0.0):.1f} s"
    if crowd.open:
        late = " ".join(event.question for event in crowd.open)
        verdict.faults.append(f"no answer within {SECONDS_TO_ANSWER:.0f} s: {late}")


def _judge_talk(talk: Talk, verdict: Verdict, poisonous: str | None) -> None:
    """Count what the judge of histories finds. What is left over of an answer, and an apology, is counted only."""
    texts = talk.shown()
    apologies = sum(map(is_apology, texts))
    session = Session(talk.label, type(talk).__name__, shown=texts)
    for event in talk.events:
        before = [each.question for each in talk.events if each is not event and not talk.in_order(event, each)]
        excuse = "it kills" if event.question == poisonous and apologies else ""
        session.asked.append(Asked(event.question, event.said_at, excuse=excuse, before=before))
    findings = check(History([session]))
    found = collections.Counter(each.kind for each in findings)
    verdict.lost += found["lost"]
    verdict.doubled += found["doubled"]
    verdict.reordered += found["reordered"]
    verdict.faults += [str(each) for each in findings if each.kind.startswith("told")]
    verdict.apologies += apologies
    verdict.unrecorded += len(texts) - sum(answer_in(text) is not None for text in texts) - apologies


def _deadlocks(database_url: str) -> int:
    """How often processes waited for each other. A crash of PostgreSQL makes it forget that."""
    if not database_url.startswith("postgresql"):
        return 0
    counted = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(rows(database_url, counted)[0]["deadlocks"])
