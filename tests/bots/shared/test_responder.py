"""What a bot has, at its end."""

from __future__ import annotations

import asyncio
from typing import Any

from bots.shared.responder import Responder
from core import Question, Turn
from tests.conftest import opened
from tests.core.fixtures.crash import Crash
from tests.surfaces.board import Board, Connection
from tests.surfaces.toy import ToyCaller

SURFACE = "toy"
SECONDS = 20.0


def shows_nothing(_: Turn, __: ToyCaller) -> Any:
    raise AssertionError("nothing is shown at the end")


async def test_what_is_accepted_while_a_bot_ends_of_an_error_is_answered_by_the_next(sqlite_url: str) -> None:
    async with opened(None, sqlite_url) as chat:
        board = Board()
        responder = Responder(chat, SURFACE, ToyCaller(Connection(board.token)), shows_nothing)
        try:
            async with responder.running(drain_seconds=0):
                raise Crash
        except* Crash:
            pass
        await responder.accept(Question(SURFACE, "toy:1", "Q1-a", event_id="1", destination={"channel": "1"}))
    async with opened(None, sqlite_url) as chat, asyncio.timeout(SECONDS):
        reclaimed = await anext(chat.orphaned(SURFACE))
    assert reclaimed.question == "Q1-a"
