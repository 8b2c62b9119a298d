"""`bob chat`: a conversation in the terminal, and the smallest surface there is."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import signal
from collections.abc import AsyncIterator, Iterator

import click

from core import Chat, ChatError, Question, Settings, open_chat

SURFACE = "terminal"
HELP = """/reset            begin anew: assistants are not told any more what was said so far
/forget           erase what was said in this session, here and at OpenAI
/assistant NAME   let another public assistant answer from now on
/quit             leave (so does Ctrl-D); Ctrl-C stops an answer"""


async def converse(settings: Settings, name: str) -> None:
    """Ask what is typed, and show answers as they are written, until the input ends."""
    async with open_chat(settings) as chat:
        leftovers = asyncio.create_task(_close_leftovers(chat))
        click.echo(f"Session {name!r}. /help shows commands.")
        try:
            async for line in _lines():
                if line.startswith("/"):
                    click.echo(await _command(chat, _session(name), line))
                elif line:
                    await _ask(chat, _session(name), line)
        finally:
            leftovers.cancel()


def _session(name: str) -> str:
    return f"{SURFACE}:{name}"


async def _lines() -> AsyncIterator[str]:
    while True:
        try:
            line = (await asyncio.to_thread(input, "\nYou: ")).strip()
        except EOFError:
            return
        if line == "/quit":
            return
        yield line


async def _ask(chat: Chat, session: str, text: str) -> None:
    try:
        turn = await chat.accept(Question(SURFACE, session, text, person=f"{SURFACE}:{getpass.getuser()}"))
        assert turn is not None  # without an event id nothing is a duplicate
        click.echo(f"\n{turn.assistant}: ", nl=False)
        shown = 0
        answer = chat.answering(turn)
        with _interrupts_stop(chat, turn.id):
            async for answer_so_far in answer.growing():
                answer.pin()
                click.echo(answer_so_far[shown:], nl=False)
                shown = len(answer_so_far)
        click.echo()
    except ChatError as failure:
        click.echo(f"\n{failure.sentence}")


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
