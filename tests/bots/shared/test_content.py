"""How much is looked at of a message, however much there is, and that nothing of it is cut before it is masked."""

from __future__ import annotations

from typing import Any

import pytest

from bots.discord.content import content_of as content_on_discord
from bots.shared.content import (
    LONGEST_CONTENT,
    LONGEST_SECRET,
    LONGEST_TEXT,
    MORE,
    MOST_UNREAD,
    THE_REST,
    Content,
    Quote,
    Reader,
    text_in,
)
from bots.slack.content import content_of as content_on_slack

SECRET = "482913"


def test_no_more_is_masked_than_there_is_room_for() -> None:
    for piece in ("x", "<", "&amp;", "<@U1> ", "1.", "\n"):
        text, seen = piece * LONGEST_TEXT, 0

        def mask(text: str) -> str:
            nonlocal seen
            seen += len(text)
            return text

        blocks = [{"type": "header", "text": {"type": "mrkdwn", "text": text}}] * 50
        attachments = [{"title": text, "text": text, "is_share": True, "author_name": text}] * 50
        content_on_slack({"text": "", "blocks": blocks, "attachments": attachments, "files": [{"title": text}]}, mask)
        embeds = [{"title": text, "description": text, "image": {"description": text}}] * 50
        content_on_discord({"content": "", "embeds": embeds, "attachments": [{"filename": text}] * 50}, 1, {}, mask)
        assert seen < 500_000  # of more than ten million


@pytest.mark.parametrize("before", range(LONGEST_CONTENT - 8, LONGEST_CONTENT + 2))
def test_no_half_of_a_secret_is_said_where_there_is_no_more_room(before: int) -> None:
    for more in ("", "y" * 3 * LONGEST_SECRET):
        reader = Reader(lambda text: text.replace(SECRET, "•••"))
        reader.say("x" * before + SECRET + more)
        assert "4" not in reader.text
        assert len(reader.text) <= LONGEST_CONTENT
        assert (THE_REST in reader.unread) is (before + len(SECRET + more) > LONGEST_CONTENT)


def test_of_too_much_that_cannot_be_read_the_first_is_named_and_that_there_is_more() -> None:
    reader = Reader(str)
    for number in range(3 * MOST_UNREAD):
        reader.miss(f"file {number}")
    assert reader.unread == (*(f"file {number}" for number in range(MOST_UNREAD)), MORE)


@pytest.mark.parametrize(
    ("value", "text"),
    [("a\0b", "ab"), ("a\ud800b", "ab"), (5, "5"), (2.5, "2.5"), (True, ""), (None, ""), ([], ""), ({}, ""),
     (1e400, ""), (10**400, "")],
)  # fmt: skip
def test_only_texts_and_numbers_are_texts_and_all_of_them_can_be_stored(value: Any, text: str) -> None:
    assert text_in(value) == text


def test_all_that_a_message_says_is_one_text_and_what_is_cut_of_it_is_named() -> None:
    content = Content("words", "a table", (Quote("1", "2", "Ada", "a quote"), Quote("", "", "", "another")), ("a.png",))
    assert content.told(100) == "words\na table\nAda wrote: a quote\nSomebody wrote: another\n(Not readable: a.png)"
    assert content.told(5) == f"words\n(Not readable: a.png, {THE_REST})"
