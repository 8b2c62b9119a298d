"""How many words somebody who does not know a password may try in an hour, and about how many of them they learn."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

from bots.discord.incoming import Speaker, destination_of
from bots.discord.words import Here, person_id, readable
from bots.discord.words import title_of as title_on_discord
from bots.shared.incoming import Incoming
from bots.shared.words import names_of_files, plain_name
from bots.slack.words import parse_message
from core import Chat, PasswordsClosed, Question, Remarks, Turn, WrongPassword
from tests.conftest import opened

KINDS = {"published": "973808", "PIN": "482913", "strong": "pomelo-kestrel-83-viaduct"}
MOST = 700  # words that are tried where nothing closes
IN_A_TEXT = 20

# What can be seen of a text with these words, but for the words themselves. Raises PasswordsClosed.
Try = Callable[[Chat, list[str], int], Awaitable[str]]


async def _said(chat: Chat, question: Question) -> str:
    return _assistant(await chat.accept(question))


def _assistant(turn: Turn | None) -> str:
    if turn is None or turn.unread:
        raise PasswordsClosed
    return turn.assistant


def on_slack(words: list[str], user: str, at: int) -> Question:
    event = {
        "type": "message", "user": user, "channel": f"D{user}", "channel_type": "im", "ts": f"1712.{at:06}",
        "text": " ".join(words) + " hello",
    }  # fmt: skip
    said = parse_message({"team_id": "T1"}, event)
    assert said is not None
    return Question("slack", said.session, said.text, said.key, said.person, None, said.place, said.destination)


def on_discord(words: list[str], user: int, at: int) -> Question:
    here = Here("dm", user, None, None)
    note = destination_of(here, Speaker(user, "Eve", None), bot=1, message=at)
    text = readable(" ".join(words) + " hello", 1, {})
    return Incoming(
        key=str(at), session=here.session(message=at, user=user), place=here.place, channel=str(user),
        person=person_id(user), text=text, destination=note,
    ).question("discord")  # fmt: skip


def on_web(words: list[str], caller: int) -> Question:
    return Question("web", f"web:public:{caller}", " ".join(words) + " hello", address=f"192.0.2.{caller}")


async def window(chat: Chat, words: list[str], at: int) -> str:
    try:
        return (await chat.unlock("slack:T1:U1", "slack:T1:D1", "slack", words[0])).name
    except WrongPassword:
        return "wrong"


async def edit(chat: Chat, words: list[str], at: int) -> str:
    turn = await chat.accept(on_slack([], "U1", at))
    assert turn is not None
    await chat.amend(turn, " ".join(words))
    return _assistant(await chat.turn(turn.id))


def _masked(words: list[str], shown: Callable[[str], str]) -> str:
    return re.sub("|".join(words), "#", shown(" ".join(words)))


async def file_names(chat: Chat, words: list[str], at: int) -> str:
    return _masked(words, lambda name: str(names_of_files([plain_name(name, "<>")], chat.masked)))


async def titles(chat: Chat, words: list[str], at: int) -> str:
    def title(text: str) -> str:
        turn = Turn("a" * 32, 1, "s", 1, "discord", None, None, text, "Bob", private=False, fencing_token=1)
        return title_on_discord(turn, chat.masked)

    return _masked(words, title)


async def quotes(chat: Chat, words: list[str], at: int) -> str:
    return _masked(words, lambda text: Remarks("Earlier", [("Eve", text)]).framed(chat.masked))


async def names(chat: Chat, words: list[str], at: int) -> str:
    return _masked(words, lambda text: Remarks("Earlier", [(text, "")]).framed(chat.masked))


ROADS: dict[str, Try] = {
    "text, one on the web": lambda chat, words, at: _said(chat, on_web(words, 1)),
    "text, one on Slack": lambda chat, words, at: _said(chat, on_slack(words, "U1", at)),
    "text, one on Discord": lambda chat, words, at: _said(chat, on_discord(words, 1, at)),
    "text, all of the web": lambda chat, words, at: _said(chat, on_web(words, at)),
    "text, all of Slack": lambda chat, words, at: _said(chat, on_slack(words, f"U{at}", at)),
    "text, all of Discord": lambda chat, words, at: _said(chat, on_discord(words, at, at)),
    "window, one": window, "edit, one": edit, "names of files": file_names, "titles": titles,
    "quotes and earlier messages": quotes, "names of people": names,
}  # fmt: skip


def words_like(secret: str) -> Iterator[str]:
    numbers = (str(100_001 + n) if secret.isdigit() else f"{secret[:-4]}{1000 + n}" for n in itertools.count())
    return (word for word in numbers if word != secret)


@contextlib.asynccontextmanager
async def _chat(secret: str) -> AsyncIterator[Chat]:
    with tempfile.TemporaryDirectory() as folder:
        async with opened(None, f"sqlite:///{Path(folder, 'bob.db')}", private_bob_password=secret) as chat:
            yield chat


async def measure(secret: str, road: Try) -> tuple[int, bool]:
    """How many words are tried until it closes, or MOST; and whether the right one is told from a wrong one."""
    words = words_like(secret)
    async with _chat(secret) as chat:
        is_told = await road(chat, [secret], 1) != await road(chat, [next(words)], 2)
    tried, size = 0, 1 if road is window else IN_A_TEXT
    async with _chat(secret) as chat:
        with contextlib.suppress(PasswordsClosed):
            for at in range(3, 3 + MOST // size):
                await road(chat, list(itertools.islice(words, size)), at)
                tried += size
    return tried, is_told


def main() -> None:
    """Print the table."""
    logging.disable(logging.WARNING)
    print("\nWords that may be tried in an hour / of how many of them something is learnt\n")
    print(f"| road | {' | '.join(KINDS)} |\n|---|{'---:|' * len(KINDS)}")
    for name, road in ROADS.items():
        cells = []
        for secret in KINDS.values():
            tried, is_told = asyncio.run(measure(secret, road))
            shown = str(tried) if tried < MOST else "any number"
            cells.append(f"{shown} / {shown if is_told else 0}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    print("\nA published password protects nothing; a strong one is one of 10^12 or more, so any number is too few.")
