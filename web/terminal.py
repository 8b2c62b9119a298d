"""`bob chat`: a conversation in the terminal, and the smallest surface there is."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import io
import os
import signal
import stat
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol, TextIO

import click

from core import Chat, ChatError, GivenFile, Question, Settings, open_chat

SURFACE = "terminal"
BYTES_COPIED_AT_ONCE = 1 << 20
HELP = """/reset            begin anew: assistants are not told any more what was said so far
/forget           erase what was said in this session, here and at OpenAI
/assistant NAME   let another public assistant answer from now on
/quit             leave (so does Ctrl-D); Ctrl-C stops an answer, or throws away what is typed"""


# What makes a terminal do something (an escape sequence may even write to the clipboard), as a sign that is seen.
_VISIBLE = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\t\n"}
_VISIBLE |= {0x7F: "\N{SYMBOL FOR DELETE}", **{code: f"\\x{code:x}" for code in range(0x80, 0xA0)}}


class Medium(Protocol):
    """Where the words of people come from and those of assistants go."""

    async def read(self) -> str:
        """What somebody asks. Raises EOFError once nothing comes any more."""

    def answer(self, name: str) -> AbstractContextManager[Callable[[str], None]]:
        """Show an answer of this assistant within the block, by being told all of it that there is."""


class Pipe:
    """Lines in, plain text out: for files, other programs, and terminals of which only one end is here."""

    async def read(self) -> str:
        return await asyncio.to_thread(input, "\nYou: ")

    @contextlib.contextmanager
    def answer(self, name: str) -> Iterator[Callable[[str], None]]:
        click.echo(f"\n{name}: ", nl=False)
        shown = 0

        def show(so_far: str) -> None:
            nonlocal shown
            click.echo(so_far[shown:], nl=False)
            shown = len(so_far)

        yield show
        click.echo()


async def converse(settings: Settings, name: str, files: Sequence[BinaryIO] = ()) -> bool:
    """Ask what is typed, and show answers as they are written, until the input ends. Whether all of it could be read.

    The files come with the first question that is accepted, or alone at an empty line before. Raises OSError where the
    output takes nothing any more, BrokenPipeError where nobody reads it; the answer at that time is stopped.
    """
    _let_characters_cause_no_errors(sys.stdin, "surrogateescape")
    _let_characters_cause_no_errors(sys.stdout, "replace")
    hung_up: OSError | None = None
    all_read = True
    medium = _medium()
    attached = [given(each, settings.file_limits.of_a_file) for each in files]
    async with open_chat(settings) as chat:
        leftovers = asyncio.create_task(_close_leftovers(chat))
        try:
            click.echo(f"Session {name!r}. /help shows commands.")
            if attached:
                click.echo("Your first question takes the files along; an empty line sends them alone.")
            async for line in _lines(medium):
                if not _is_text(line):
                    click.echo(f"\nThat line is not written in {sys.stdin.encoding}, so nobody was asked.", err=True)
                    all_read = False
                elif line.startswith("/"):
                    click.echo(await _command(chat, _session(name), line))
                elif (line or attached) and await _ask(chat, medium, _session(name), line, attached):
                    attached = []
        except OSError as error:  # which is no failure of the chat
            hung_up = error
        finally:
            leftovers.cancel()
    if hung_up is not None:
        raise hung_up
    return all_read


def given(file: BinaryIO, most: int) -> GivenFile:
    """A file that was named; of a pipe, which can be read but once, a copy of `most` bytes and one more."""
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return GivenFile.measured(file.name, file)
    copy = tempfile.TemporaryFile()  # noqa: SIM115, since it is needed for as long as this process talks
    left = most + 1
    while left and (piece := file.read(min(left, BYTES_COPIED_AT_ONCE))):
        copy.write(piece)
        left -= len(piece)
    return GivenFile.measured(file.name, copy)


def _let_characters_cause_no_errors(stream: TextIO, errors: str) -> None:
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)


def _is_text(line: str) -> bool:
    """Whether it could be read as what it was written in: what could not, stands there as halves of characters."""
    return not any("\ud800" <= character <= "\udfff" for character in line)


def _session(name: str) -> str:
    return f"{SURFACE}:{name}"


def visible(text: str) -> str:
    """A text of which nothing controls the terminal that shows it."""
    return text.translate(_VISIBLE)


def _medium() -> Medium:
    if sys.stdin and sys.stdout and sys.stdin.isatty() and sys.stdout.isatty():
        from web.screen import Screen  # which takes a while to import

        return Screen()
    return Pipe()


async def _lines(medium: Medium) -> AsyncIterator[str]:
    while sys.stdin and sys.stdout:  # there are none where whoever began this has closed them
        try:
            line = (await medium.read()).strip()
        except EOFError:
            return
        if line == "/quit":
            return
        yield line


async def _ask(chat: Chat, medium: Medium, session: str, text: str, files: Sequence[GivenFile]) -> bool:
    """Ask, and show the answer. Whether the question was accepted."""
    turn = None
    try:
        question = Question(SURFACE, session, text, person=f"{SURFACE}:{getpass.getuser()}", files=files)
        turn = await chat.accept(question)
        assert turn is not None  # without an event id nothing is a duplicate
        for each in turn.attachments:
            if each.problem is not None:
                click.echo(f"! {visible(each.name)} cannot be read: {each.problem}.", err=True)
            elif each.heard:
                click.echo(f"> {visible(each.heard)}", err=True)
        answer = chat.answering(turn)
        try:
            with medium.answer(turn.assistant) as show, _interrupts_stop(chat, turn.id):
                async for answer_so_far in answer.growing():
                    answer.pin()
                    show(visible(answer_so_far))
        except OSError:
            await chat.stop(turn.id)
            raise
    except ChatError as failure:
        click.echo(f"\n{failure.sentence}")
    return turn is not None


@contextlib.contextmanager
def _interrupts_stop(chat: Chat, turn_id: str) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[bool]] = set()
    loop.add_signal_handler(signal.SIGINT, lambda: tasks.add(loop.create_task(chat.stop(turn_id))))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


async def _command(chat: Chat, session: str, line: str) -> str:
    command, _, argument = line.partition(" ")
    try:
        match command:
            case "/reset":
                await chat.reset(session)
                return "We begin anew."
            case "/forget":
                await chat.forget(session)
                return "Forgotten."
            case "/assistant" if argument:
                await chat.choose(session, SURFACE, argument.strip())
                return f"{argument.strip()} answers from now on."
            case _:
                return HELP
    except ChatError as failure:
        return failure.sentence


async def _close_leftovers(chat: Chat) -> None:
    async for turn in chat.orphaned(SURFACE):
        await chat.interrupt(turn)
