"""A process that dies, as of a kill -9, as soon as it reads the answer to a poisonous question."""

from __future__ import annotations

import os
import signal
from functools import wraps

from aiohttp.client_proto import ResponseHandler

from core import suspects
from tests.acceptance.chaos.answers import DEADLY_WORD
from tests.acceptance.processes import main_of
from web import cli

RUNS, HURRIES = "BOB_RUNS", "BOB_HURRIES"


def main() -> None:
    """Run what is shipped, `bob run` or a bot alone, until it reads the word."""
    if os.environ.get(HURRIES):
        suspects.SECONDS_TO_LIVE_FIRST = (0.0,) * 5
    received = ResponseHandler.data_received

    @wraps(received)
    def read(self: ResponseHandler, data: bytes) -> None:
        if DEADLY_WORD.encode() in data:
            os.kill(os.getpid(), signal.SIGKILL)
        received(self, data)

    ResponseHandler.data_received = read  # type: ignore[method-assign]
    if bot := os.environ[RUNS]:
        main_of(bot)()
    else:
        cli.main(["run"])
