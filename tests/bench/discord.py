"""How soon a streamed answer is whole on Discord, next to the obvious bot in the same run.

The model takes eight seconds. Discord takes some five edits in five seconds in one channel, whoever makes them, so what
counts is whether the end of an answer has to wait behind edits that nobody needs any more.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.throughput import APP, HERE
from tests.fakes.discord_api import FakeDiscord
from tests.fakes.openai_api import FakeOpenAI, Reply

TOKENS, MODEL_SECONDS = 400, 8.0
BURST, SECONDS_BETWEEN_BURSTS = 5, 0.1
PIECES: list[str | float] = [SECONDS_BETWEEN_BURSTS, *["tok "] * BURST] * (TOKENS // BURST)
ANSWER = "tok " * TOKENS
PEOPLE = ("ada", "grace", "root")
ROUNDS = 3
SECONDS = 120.0
PLAIN, BOB, BOB_IN_THREADS = "plain bot", "Bob", "Bob, threads"
MODULES = {PLAIN: "tests.bench.plain_discord", BOB: "bots.discord", BOB_IN_THREADS: "bots.discord"}


@dataclass
class Measured:
    """The last of some answers that were asked for at once."""

    first_words: float  # seconds until there is something to read of each
    seconds: float  # until it is whole
    after_the_model: float  # of these, since the model had said its last token
    edits: float  # of each answer
    refused: int  # requests, because there were too many


def main() -> None:
    os.sched_setaffinity(0, {HERE})
    print(
        f"\n{TOKENS} tokens in {MODEL_SECONDS:.0f} s of model time, in one channel, median of {ROUNDS} rounds (SQLite)"
    )
    columns = f"{'/model':>8s}{'/plain':>8s}{'after last token s':>20s}{'first words s':>15s}{'edits':>7s}{'429s':>6s}"
    print(f"{'':24s}{'whole after s':>15s}{columns}")
    for streams in (1, 3):
        rounds = [{name: measure(name, streams) for name in MODULES} for _ in range(ROUNDS)]
        plain = statistics.median(each[PLAIN].seconds for each in rounds)
        for name in MODULES:
            of_name = [each[name] for each in rounds]
            whole = statistics.median(each.seconds for each in of_name)
            after = statistics.median(each.after_the_model for each in of_name)
            first = statistics.median(each.first_words for each in of_name)
            edits = statistics.median(each.edits for each in of_name)
            refused = max(each.refused for each in of_name)
            print(
                f"{f'{streams} at once: {name}':24s}{whole:15.2f}{whole / MODEL_SECONDS:8.2f}{whole / plain:8.2f}"
                f"{after:20.2f}{first:15.2f}{edits:7.1f}{refused:6d}",
                flush=True,
            )


def measure(name: str, streams: int) -> Measured:
    with FakeOpenAI(check=False) as model, FakeDiscord(check=False) as discord:
        model.answer = lambda _: Reply(pieces=PIECES)
        if name != BOB_IN_THREADS:
            discord.forbids("general", "create_public_threads")
        with bot(name, model, discord):
            discord.enforce_limits()
            began = time.monotonic()
            asked = [discord.says(person, "general", f"{discord.mention} hello") for person in PEOPLE[:streams]]
            discord.wait_for(lambda discord: all(map(discord.replies, asked)), SECONDS)
            first = time.monotonic()
            model.wait_for(lambda model: len(model.responses) == streams and not model.active, SECONDS)
            said = time.monotonic()
            discord.wait_for(lambda discord: all(discord.replies(each) == [ANSWER.strip()] for each in asked), SECONDS)
            whole = time.monotonic()
            edits = sum(len(message.texts) - 1 for each in asked for message in discord.reply_messages(each))
            return Measured(first - began, whole - began, whole - said, edits / streams, discord.rate_limited)


@contextlib.contextmanager
def bot(name: str, model: FakeOpenAI, discord: FakeDiscord) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="bob-bench-") as folder:
        environment = {
            **os.environ,
            "OPENAI_API_KEY": "sk-test",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_THREADS": "conversations",
            "DATABASE_URL": f"sqlite:///{folder}/bob.db",
            "DISCORD_TOKEN": discord.token,
            "DISCORD_API_URL": discord.url,
            "DISCORD_JOIN_SECONDS": "0",
            "LOG_LEVEL": "error",
            "DRAIN_SECONDS": "0",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", MODULES[name]],
            env=environment,
            cwd=folder,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: os.sched_setaffinity(0, {APP}),
        )
        try:
            discord.wait_for(lambda discord: discord.connections, SECONDS)
            yield
        finally:
            process.terminate()
            process.wait(30)


if __name__ == "__main__":
    main()
