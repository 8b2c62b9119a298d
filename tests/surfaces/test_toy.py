"""Rules for the toy, besides those for every surface."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bots.shared.surface import LoadedSurface
from core import LeaseLost, SettingsError
from tests.surfaces import toy
from tests.surfaces.board import Board, Connection
from tests.surfaces.toy import TOY, ToyCaller, ToySettings

MOST_LINES = 150


def test_a_whole_surface_takes_no_more_lines_than_it_is_said_to() -> None:
    lines = [line.strip() for line in Path(toy.__file__).read_text(encoding="utf-8").splitlines()]
    assert sum(bool(line) and not line.startswith("#") for line in lines) <= MOST_LINES


async def test_a_toy_whose_token_no_board_takes_cannot_be_served() -> None:
    with pytest.raises(SettingsError, match="TOY_TOKEN"):
        await LoadedSurface(TOY, ToySettings(toy_token="nobody's", _env_file=None)).check()


async def test_who_loses_a_turn_while_a_call_stands_in_line_does_not_make_it() -> None:
    board, lost = Board(), asyncio.Event()

    async def check_lease() -> None:
        if lost.is_set():
            raise LeaseLost

    fenced = ToyCaller(Connection(board.token)).fenced(check_lease)
    await fenced.post("general", "one", "1")
    limiter = fenced._limiter("post", "")
    assert limiter is not None
    limiter.pause(0.2)
    standing_in_line = asyncio.create_task(fenced.post("general", "two", "2"))
    await asyncio.sleep(0)
    lost.set()
    with pytest.raises(LeaseLost):
        await standing_in_line
    assert [each.text for each in board.read("general")] == ["one"]
