"""A terminal that somebody sits at: what is typed can be edited, and Markdown is drawn."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from prompt_toolkit import PromptSession
from prompt_toolkit.history import InMemoryHistory
from rich.console import Console, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.text import Text

from core import Context

SECONDS_BETWEEN_DRAWINGS = 0.1
LONGEST_DRAWN_WHILE_IT_GROWS = 4_000  # characters; of what is longer the end is shown as it was written
_GOES_ON = frozenset(" \t\n-*+>|0123456789")  # with which a line after an empty one may belong to what is above it


class Screen:
    """Lines may be of any length, and what is pasted is one of them. None is kept once this process ends."""

    def __init__(self, console: Console | None = None) -> None:
        self._typed: PromptSession[str] = PromptSession(history=InMemoryHistory())
        self._console = console or Console(highlight=False)

    async def read(self) -> str:
        """What is typed or pasted until Enter. Ctrl-C throws it away. Raises EOFError."""
        while True:
            with contextlib.suppress(KeyboardInterrupt):
                return await self._typed.prompt_async("\nYou: ")

    @contextlib.contextmanager
    def answer(self, name: str) -> Iterator[Callable[[str], None]]:
        """Show an answer of this assistant, by being told all of it that there is."""
        self._console.print(Text(f"\n{name}:", style="bold"))
        blocks, drawn, text, drawn_at = WholeBlocks(), 0, "", 0.0
        try:
            with Live(console=self._console, transient=True, auto_refresh=False, vertical_overflow="ellipsis") as live:

                def show(so_far: str) -> None:
                    nonlocal drawn, text, drawn_at
                    text = so_far
                    if time.monotonic() - drawn_at < SECONDS_BETWEEN_DRAWINGS:
                        return
                    if (end := blocks.end_in(text)) > drawn:
                        self._console.print(_drawn(text[drawn:end]))
                        drawn = end
                    live.update(_growing(text[drawn:]), refresh=True)
                    drawn_at = time.monotonic()

                yield show
        finally:  # what is there of an answer that breaks off stays, too
            self._console.print(_drawn(text[drawn:]))


class WholeBlocks:
    """Finds where in a growing Markdown text its last whole paragraph, list, table or block of code ends."""

    def __init__(self) -> None:
        self._at = 0  # the beginning of the first line that has not been looked at
        self._end = 0
        self._context = Context()

    def end_in(self, text: str) -> int:
        """The end of what does not change any more, whatever is added to this text."""
        while 0 < (next_line := text.find("\n", self._at) + 1) < len(text):
            line = text[self._at : next_line]
            self._context = self._context.after(line)
            self._at = next_line
            if line.isspace() and not self._context.fence and text[next_line] not in _GOES_ON:
                self._end = next_line
        return self._end


def _growing(text: str) -> RenderableType:
    return _drawn(text) if len(text) <= LONGEST_DRAWN_WHILE_IT_GROWS else Text(text[-LONGEST_DRAWN_WHILE_IT_GROWS:])


def _drawn(text: str) -> Markdown:
    return Markdown(text, code_theme="bw", hyperlinks=False)  # whither a link leads is written beside it
