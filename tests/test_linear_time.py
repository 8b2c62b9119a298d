"""Whatever reads text from outside takes time in proportion to its length: nobody stops Bob with a message.

The next such function is held to it by a line in READERS, and the next nasty thing to write by one in PIECES.
"""

from __future__ import annotations

import contextlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import TypeAdapter
from starlette.requests import Request

from bots.discord.export import without_mention as question_on_discord
from bots.discord.incoming import speaker_of
from bots.discord.markdown import discord_markdown
from bots.discord.words import named, names_in, opens_with, parts_of
from bots.discord.words import readable as readable_on_discord
from bots.discord.words import shown as shown_on_discord
from bots.discord.words import title_of as title_on_discord
from bots.shared import words
from bots.shared.as_files import wants_files, with_files
from bots.shared.controls import command_in
from bots.shared.inline_markdown import inline_of
from bots.shared.mentions import Mentions
from bots.shared.pages import BlankLines, Place, after, certain, code_in, first_page, pages, texts_of_pages
from bots.shared.plain_text import plain_text
from bots.shared.titles import title
from bots.slack.content import readable as readable_on_slack
from bots.slack.export import without_mention as question_in_slack
from bots.slack.words import (
    fallback,
    harmless,
    is_for_us,
    parse_message,
    people_in,
    with_names,
)
from bots.slack.words import shown as shown_on_slack
from bots.slack.words import title_of as title_on_slack
from core import Context, Frame, Remarks, Turn, as_moment, closing, is_table_rule
from core.archive.formats import without_marks
from core.frames import without_setting
from core.language_model import ModelTrouble
from core.logs import RedactingFormatter
from core.openai_model.events import Events
from core.openai_model.words import Words
from core.password import Password, Passwords
from web.addresses import client_address, networks
from web.callers import Printable
from web.pages import _knows
from web.streams import _Prefix, wants_events

Reader = Callable[[str], object]

LONGEST = 200_000  # characters of an answer; a question has 32,000, and a request's head 64 KiB
SECONDS_THAT_ARE_NOTHING, OF_EACH_CHARACTER = 0.002, 50e-9
SECONDS_THAT_ARE_ENOUGH = 0.3
# Four times the text takes four times as long, or 16 times where the time grows with the square of the length.
TIMES, TOO_MUCH = 4, 9

ONE_IN = 20  # texts that a reader is given in `make test`

PRINTABLE: TypeAdapter[str] = TypeAdapter(Printable)
PROXIES = networks(["10.0.0.0/8"])


def a_turn(question: str, **to: Any) -> Turn:
    return Turn(
        id="a" * 32, session_id=1, session="s", number=1, surface="s", event_id="1", person=None, question=question,
        assistant="Bob", private=False, fencing_token=1, destination={"bot": "B1", **to},
    )  # fmt: skip


def a_request(header: str, value: str) -> Request:
    headers = [(header.encode(), value.encode(errors="replace"))]
    return Request({"type": "http", "headers": headers, "client": ("10.0.0.1", 50_000)})


def said_on_slack(text: str = "", file: str = "") -> object:
    body = {"team_id": "T1", "authorizations": [{"user_id": "B1"}]}
    return parse_message(body, {"user": "U1", "channel": "C1", "ts": "1", "text": text, "files": [{"title": file}]})


def streamed(text: str) -> None:
    """The pages of a text that grows, as a stream turns them."""
    start, context = 0, Place()
    for length in (len(text) // 3, len(text) * 2 // 3, len(text)):
        now = text[:length]
        blank_lines = BlankLines(now)
        while len(now) - start > 1_000:
            start, context = after(now, first_page(now, start, context, 1_000), blank_lines)
        certain(now, start, context, 1_000)


def in_pieces(text: str) -> list[str]:
    return [text[at : at + 100] for at in range(0, len(text), 100)]


def worded(text: str) -> None:
    words = Words()
    for piece in in_pieces(text):
        words.add(piece)
    words.end(complete=True)


def read_as_events(text: str) -> None:
    events = Events()
    with contextlib.suppress(ModelTrouble):
        for piece in in_pieces(text):
            for _ in events.feed(piece.encode("utf-8", "replace")):
                pass


def validated(text: str) -> None:
    with contextlib.suppress(ValueError):
        PRINTABLE.validate_python(text)


PASSWORDS = Passwords(
    [Password(secret, "Private-Bob", name=secret) for secret in ("482913", "4829137", "973808", "a horse & a battery")]
)

LOG = RedactingFormatter(["a secret"])
PEOPLE = Mentions([("Ada", "1"), ("Ada L", "2"), ("a b", "3"), ("x", "4")])

READERS: dict[str, Reader] = {
    # an answer
    "the words of a model": worded,
    "the words behind a tag": lambda text: worded(f"<think>{text}"),
    "the events of a stream": read_as_events,
    "an event of a stream": lambda text: read_as_events(f"data: {text}"),
    "a line outside": Context().after,
    "a line in code": Context(opening="```\n", fence="```").after,
    "a line in quoted code": Context(opening="> ```\n", fence="```", margin="> ").after,
    "a line below a table's head": Context(line_before="a|b").after,
    "a line in a table": Context(opening="a|b\n-|-\n").after,
    "a table's head": lambda text: Context(line_before=text).after("-|-"),
    "a table's rule": is_table_rule,
    "what a text leaves open": closing,
    "the pages of an answer": lambda text: [page.of(text) for page in pages(text, 1_000)],
    "the pages on Slack": lambda text: texts_of_pages(text, 11_000),
    "the pages of a stream": streamed,
    "the pages of an answer that hides": lambda text: [page.of(text) for page in pages(text, 1_000, Place(hides=True))],
    "the marks of a paragraph": lambda text: inline_of(text, 0, len(text)),
    "the marks of a paragraph that goes on": lambda text: inline_of(text, 0, len(text), goes_on=True),
    "the code of an answer": code_in,
    "the words of an answer": plain_text,
    "Markdown for Discord that grows": lambda text: discord_markdown(text, whole=False),
    "Markdown for Discord": discord_markdown,
    "an answer on Discord": lambda text: shown_on_discord(a_turn("", guild=1), text),
    "the parts of an answer on Discord": parts_of,
    "an answer on Slack": lambda text: shown_on_slack(a_turn(""), text, whole=True),
    "an answer that grows on Slack": lambda text: shown_on_slack(a_turn(""), text, whole=False),
    "an answer that mentions nobody": lambda text: harmless(text, whole=True),
    "whom an answer names": lambda text: PEOPLE.made_in(text, whole=True),
    "whom an answer names that grows": lambda text: PEOPLE.made_in(text, whole=False),
    "a notification on Slack": fallback,
    "the files of an answer": lambda text: with_files(text, whole=True),
    "the files of an answer that grows": lambda text: with_files(text, whole=False),
    # a question
    "whom a message on Discord is for": opens_with,
    "a message on Discord": lambda text: readable_on_discord(text, 1, {5: "Grace"}),
    "a thread's title on Discord": lambda text: title_on_discord(a_turn(text), PASSWORDS.masked),
    "a file's name on Discord": named,
    "the names in a name on Discord": names_in,
    "a name on Discord": lambda text: speaker_of(
        cast(Any, SimpleNamespace(id=1, name="a", display_name=text)), PASSWORDS.masked
    ),
    "a message on Slack": said_on_slack,
    "a file's name on Slack": lambda text: said_on_slack(file=text),
    "markup on Slack": readable_on_slack,
    "whom a message on Slack is for": lambda text: is_for_us(text, "B1", in_ours=True),
    "the people in a message on Slack": people_in,
    "the names in a message on Slack": lambda text: with_names(text, {"U1": "Grace"}),
    "a conversation's title on Slack": title_on_slack,
    "a command on Slack": command_in,
    "a plain name": lambda text: words.plain_name(text, "*_`~<>|\n@"),
    "files that are not read": lambda text: words.above_the_answer(a_turn("", files=[text])),
    "whether files are wanted": wants_files,
    "a title": lambda text: title(text, 80),
    # what is logged
    "a line of the log": lambda text: LOG.format(logging.makeLogRecord({"msg": text})),
    # both
    "words that may be a password": PASSWORDS.candidates,
    "passwords in what is said": PASSWORDS.read,
    "passwords in what was said before": PASSWORDS.masked,
    "passwords in what was spoken": PASSWORDS.masked_speech,
    "a password that is typed into a window": lambda text: PASSWORDS.typed(text).read(),
    "a question in its frame": lambda text: Frame(text, [text], (), "now", [("channel", text)]).around(text),
    "a question without when and where it was asked": without_setting,
    "a moment in a time zone": lambda text: as_moment(0, text),
    "what was said before, in its frame": lambda text: Remarks("Earlier", [(text, text)]).framed(str),
    # what is imported
    "a text with citations": without_marks,
    "an imported question on Discord": question_on_discord,
    "an imported question in Slack": lambda text: question_in_slack(text, "B1"),
    # a request
    "text that has to be printable": validated,
    "the addresses that a request was forwarded for": lambda text: client_address(
        a_request("x-forwarded-for", text), PROXIES
    ),
    "the versions of a file that a browser has": lambda text: _knows(a_request("if-none-match", text), '"a"'),
    "whether events are wanted": lambda text: wants_events(a_request("accept", text)),
    "the id of the last event": lambda text: _Prefix.told_by(text, "a"),
    "what the last event had told": lambda text: _Prefix.told_by(f"{len(text)}-00000000", text),
}

PIECES = (
    # nothing to be seen
    " ", "\t", "\n", "\r\n", "\r", "\x0b", "\u2028", "\xa0", "\u200b", "\u2060", "\u0301", "\ufe0f", "\0",
    # words and signs
    "a", "a ", "a\n", "é", "你", "\ufdfa", "👋", "👩‍👩‍👧", "\ud83d", "\udc4b", "1", "482913", "482913 ", "\uff11",
    ",", ":", ".", "=", "\\", "\"", "/", "@",
    # Markdown
    "#", "# ", "#### ", "*", "**", "_", "~", "~~~\n", "`", "```", "```\n", ">", "> ", "- ", "-", "1. ", "[", "](", "]",
    "![", "[http://a](", ")", "|", "|\n", "| ", "a|b\n", "a|b\n-|-\n", "-|", ":-", "\\|", "||||\n",
    "||", "$", "\\(", "$$\n", "~~", "    a\n", "[a]: b\n", "&amp;", "<br>",
    # markup of Discord and Slack
    "<", ">", "<@", "<@1", "<@1>", "<@!", "<:a:", "<a:", "</a", "<#", "<@B1", "<@B1>", "<@B1>,", "<@U1|", "<!",
    "<!here", "<!here|", "<t:1", "(It is ", "&", "&#9", "&lt;", "&amp;", "!/", "mailto:",
    "@Ada", "(ada)", "<!date^1^", "@Bob", "@Bob ", "\ue200", "\ue200\ue201",
    # addresses and versions, and who wants a file
    "as a ", "not as a file",
    "://:", "sk-", "10.0.0.1,", "::", "%", "W/",
)  # fmt: skip
PREFIXES = (
    "", "a", "#### ", "#### a", "|", "a|b\n-", "a|b\n-|", "```", "```\n", "<", "<@1", "<@B1>", "[http://a", "![",
    "!reset",
)  # fmt: skip
SUFFIXES = ("", "\nx", "\r", "|", "`", ">")

Shape = tuple[str, str, str]  # what stands before, what is repeated, and what stands after
SHAPES: dict[int, tuple[Shape, ...]] = {  # by the length that texts of them are tried at
    600: tuple(("", one + other, "x") for at, one in enumerate(PIECES) for other in PIECES[:at]),
    2_000: (
        *((before, piece, "x") for before in PREFIXES for piece in PIECES),
        *((before, piece, behind) for before in ("", "a") for piece in PIECES for behind in SUFFIXES),
    ),
    16_000: tuple(("", piece, "x") for piece in PIECES),
    LONGEST: tuple(("", piece, "x") for piece in (" ", "\n", "a", "a ", "<", "👋")),
}


def text_of(shape: Shape, length: int) -> str:
    before, piece, behind = shape
    return before + piece * (length // len(piece)) + behind


def seconds(reader: Reader, shape: Shape, length: int, *, tries: int = 1) -> float:
    """The processor time that reading a text takes, the least of several."""
    text = text_of(shape, length)
    least = float("inf")
    for _ in range(tries):
        began = time.thread_time()
        reader(text)
        least = min(least, time.thread_time() - began)
        if least > SECONDS_THAT_ARE_ENOUGH:
            break
    return least


def takes_too_long(reader: Reader, shape: Shape, length: int) -> bool:
    """Whether the time that texts of a shape take grows much faster than they do, also where they are much longer."""
    tries = 1
    while True:
        longer = seconds(reader, shape, length, tries=tries)
        if longer < SECONDS_THAT_ARE_NOTHING + length * OF_EACH_CHARACTER:
            return False
        if longer < TOO_MUCH * seconds(reader, shape, length // TIMES, tries=tries):
            return False
        if tries > 1 and (length == LONGEST or longer > SECONDS_THAT_ARE_ENOUGH):
            return True
        length, tries = min(2 * length, LONGEST), 3


def shapes_with_length() -> list[tuple[int, Shape]]:
    return [(length, shape) for length, shapes in SHAPES.items() for shape in shapes]


def slow_text(reader: Reader, shapes: Sequence[tuple[int, Shape]]) -> str:
    """The beginning of a text that takes a reader too long; nothing if all are read in time."""
    for length, shape in shapes:
        if takes_too_long(reader, shape, length):
            return text_of(shape, 20)
    return ""


@pytest.mark.one_in(2)
@pytest.mark.parametrize("reader", READERS)
def test_a_text_takes_time_in_proportion_to_its_length(reader: str) -> None:
    """Each reader has some of the texts, the next reader others."""
    some = shapes_with_length()[list(READERS).index(reader) % ONE_IN :: ONE_IN]
    assert slow_text(READERS[reader], some) == "", "that and so on takes far too long"


@pytest.mark.thorough
@pytest.mark.timeout(120)
@pytest.mark.parametrize("reader", READERS)
def test_each_text_takes_time_in_proportion_to_its_length(reader: str) -> None:
    assert slow_text(READERS[reader], shapes_with_length()) == "", "that and so on takes far too long"


def test_each_reader_is_given_every_text() -> None:
    read: set[str] = set()
    slow_text(read.add, shapes_with_length())
    assert read == {text_of(shape, length) for length, shapes in SHAPES.items() for shape in shapes}


@pytest.mark.parametrize(
    "slow",
    [
        re.compile(r"[ \t]*\|?[ \t]*:?-+").fullmatch,
        lambda text: [text[at:].strip() for at in range(0, len(text), 10)],
    ],
)
def test_a_reader_that_takes_time_in_proportion_to_the_square_of_the_length_is_found(slow: Reader) -> None:
    assert slow_text(slow, shapes_with_length()) != ""
