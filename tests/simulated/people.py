"""People who ask: over HTTP, in Slack, on Discord. They are those of the storms of processes."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import aiohttp

from tests.acceptance.chaos import talks
from tests.acceptance.chaos.talks import Crowd, DiscordTalk, Site, SlackTalk, Talk, WebTalk
from tests.simulated.history import Asked, Session
from tests.simulated.world import CHANNELS, World

SURFACES: Mapping[type[Talk], str] = {WebTalk: "web", SlackTalk: "slack", DiscordTalk: "discord"}
SECONDS_OF_A_TRY = 20.0

talks.SECONDS_TO_ANSWER = 1_000.0  # people here have time
talks.SECONDS_BETWEEN_TRIES = 0.3


def crowd(
    world: World, http: aiohttp.ClientSession, rng: random.Random, people: Mapping[str, int], *, questions: int
) -> Crowd:
    """So many people on each surface, who ask so many questions together."""
    site = Site(http, try_seconds=SECONDS_OF_A_TRY)
    site.urls = [each.url for each in world.instances]
    kinds: dict[str, Callable[[str], Talk]] = {
        "web": lambda number: WebTalk(f"w{number}", site),
        "slack": lambda number: SlackTalk(f"k{number}", world.slack, CHANNELS[int(number) % len(CHANNELS)], rng),
        "discord": lambda number: DiscordTalk(f"d{number}", world.discord, rng),
    }
    return Crowd([kinds[name] for name, number in people.items() for _ in range(number)], rng, events=questions)


def session_of(talk: Talk) -> Session:
    """What became of a conversation, as the judge reads it."""
    session = Session(talk.label, SURFACES[type(talk)], shown=talk.shown())
    for event in talk.events:
        before = [each.question for each in talk.events if each is not event and not talk.in_order(event, each)]
        session.asked.append(Asked(event.question, event.said_at, answered_at=event.answered_at, before=before))
    return session
