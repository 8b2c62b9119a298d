"""`bob chat` where somebody sits at a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from tests.acceptance.processes import BOB
from tests.core.fixtures.database import rows
from tests.fakes.openai_api import FakeOpenAI, Reply
from web.screen import Screen, WholeBlocks
from web.terminal import given, visible

Environment = Callable[..., dict[str, str]]
SECONDS = 60.0  # on a busy machine
CTRL_C, CTRL_D, UP = b"\x03", b"\x04", b"\x1b[A"
CLIPBOARD = "\x1b]52;c;c2VjcmV0\x07"  # writes to the clipboard of whoever sees it


class Terminal:
    """A terminal, and what was shown on it."""

    def __init__(self, file: int) -> None:
        self._file = file
        self.shown = b""

    def type(self, keys: bytes) -> None:
        while keys:
            keys = keys[os.write(self._file, keys[:1_000]) :]
            self._read(0.01)

    def until(self, text: str, *, since: int = 0) -> int:
        """Come back once this was shown, after so many bytes; where it ends."""
        until = time.monotonic() + SECONDS
        while text.encode() not in self.shown[since:]:
            assert time.monotonic() < until, self.shown[since:].decode(errors="replace")[-2_000:]
            self._read(0.2)
        return self.shown.index(text.encode(), since) + len(text.encode())

    def _read(self, seconds: float) -> None:
        if select.select([self._file], [], [], seconds)[0]:
            with contextlib.suppress(OSError):  # what was at its other end has ended
                self.shown += os.read(self._file, 1 << 16)


@contextlib.contextmanager
def sitting_at(environment: dict[str, str], folder: Path) -> Iterator[tuple[Terminal, subprocess.Popen[bytes]]]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    process = subprocess.Popen(
        [BOB, "chat"], stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, start_new_session=True,
        env={**environment, "TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"},
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    try:
        yield Terminal(ours), process
    finally:
        process.kill()
        process.wait()
        os.close(ours)


def test_a_terminal_takes_pastes_long_lines_and_keys_and_draws_what_it_is_told(
    fake: FakeOpenAI, environment: Environment, tmp_path: Path, sqlite_url: str
) -> None:
    gate = fake.gate()
    long = "long " * 1_200
    answers = {
        "one\ntwo": Reply(pieces=(f"It is **bold**.{CLIPBOARD}\n\n", "- a\n- b\n")),
        long.strip(): Reply(pieces=("All of it.",)),
        "wait": Reply(pieces=("Half of it. ", "Never."), gate=gate),
    }
    fake.answer = lambda asked: answers.get(asked.question, f"You said {asked.question}.")
    with sitting_at(environment(), tmp_path) as (terminal, process):
        at = terminal.until("You:")
        terminal.type(b"\x1b[200~one\ntwo\x1b[201~\r")
        terminal.until("\x1b[1mbold\x1b[0m", since=at)
        at = terminal.until("You:", since=terminal.until("• \x1b[0mb", since=at))
        assert b"\x1b]52" not in terminal.shown
        assert "␛]52;c;c2VjcmV0␇".encode() in terminal.shown
        terminal.type(b"thrown away" + CTRL_C)
        at = terminal.until("You:", since=at)
        terminal.type(long.encode() + b"\r")
        at = terminal.until("You:", since=terminal.until("All of it.", since=at))
        terminal.type(b"again\r")
        at = terminal.until("You:", since=terminal.until("You said again.", since=at))
        terminal.type(UP + b"st\r")  # what was typed before, edited
        at = terminal.until("You:", since=terminal.until("You said against.", since=at))
        terminal.type(b"wait\r")
        at = terminal.until("Half of it.", since=at)
        terminal.type(CTRL_C)
        at = terminal.until("You:", since=at)
        terminal.type(CTRL_D)
        assert process.wait(SECONDS) == 0
    stored = rows(sqlite_url, "SELECT question, outcome FROM turn ORDER BY number")
    assert [row["question"] for row in stored] == ["one\ntwo", long.strip(), "again", "against", "wait"]
    assert [row["outcome"] for row in stored] == [*["answered"] * 4, "stopped"]
    assert fake.questions_told_twice() == []


def test_what_is_there_of_an_answer_that_breaks_off_stays_on_the_screen() -> None:
    shown = io.StringIO()
    screen = Screen(Console(file=shown, width=80))
    with contextlib.suppress(TimeoutError), screen.answer("Bob") as show:
        show("Half")
        show("Half of an answer")
        raise TimeoutError
    assert "Half of an answer" in shown.getvalue()


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("\x1b[2J\x1b[31mred", "␛[2J␛[31mred"),
        (CLIPBOARD, "␛]52;c;c2VjcmV0␇"),
        ("a\rb\bc\x00d\x7f", "a␍b␈c␀d␡"),
        ("\x9b31m\x9d0;title\x9c", "\\x9b31m\\x9d0;title\\x9c"),
        ("Tab\tand\nline, ä, 日本, 🙂", "Tab\tand\nline, ä, 日本, 🙂"),
    ],
)
def test_what_would_control_a_terminal_is_seen_and_not_done(written: str, seen: str) -> None:
    assert visible(written) == seen


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("", ""),
        ("A paragraph that grows", ""),
        ("One.\n\n", ""),
        ("One.\n\nTwo", "One.\n\n"),
        ("One.\n\nTwo.\n\nThree", "One.\n\nTwo.\n\n"),
        ("- a\n\n- b", ""),
        ("1. a\n\n   still a\n\n2. b", ""),
        ("- a\n\n- b\n\nText", "- a\n\n- b\n\n"),
        ("```python\na = 1\n\nb = 2\n", ""),
        ("```python\na = 1\n\nb = 2\n```\n\nText", "```python\na = 1\n\nb = 2\n```\n\n"),
        ("> a\n\n> b", ""),
        ("| a | b |\n|---|---|\n| 1 | 2 |\n\nText", "| a | b |\n|---|---|\n| 1 | 2 |\n\n"),
    ],
)
def test_what_is_drawn_for_good_is_whole_however_the_text_comes(text: str, whole: str) -> None:
    assert text[: WholeBlocks().end_in(text)] == whole
    by_letters = WholeBlocks()
    ends = [by_letters.end_in(text[:end]) for end in range(len(text) + 1)]
    assert text[: ends[-1]] == whole
    assert ends == sorted(ends)


def test_of_a_pipe_there_is_a_copy_and_of_a_file_without_an_end_no_more_than_is_taken() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"hello")
    os.close(writing)
    with open(reading, "rb") as pipe, open("/dev/zero", "rb") as endless:
        piped, cut_off = given(pipe, 100), given(endless, 100)
    with piped.data, cut_off.data:
        piped.data.seek(0)
        assert (piped.data.read(), piped.size, cut_off.size) == (b"hello", 5, 101)
