"""What Bob says has the same words in the same order in Slack and on Discord; the page has a test of its own."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from bots.discord.words import parts_of
from bots.slack.reply import LIMIT, _Thread
from bots.slack.words import harmless
from tests.bots.markdown_corpus import CORPUS, words_of

_SLACK = MarkdownIt("commonmark", {"breaks": True}).enable(["strikethrough", "table"])


def seen_in_slack(text: str) -> str:
    """What Slack shows of standard Markdown (the `markdown` block), tables and tasks included."""

    def words(tokens: list[Token]) -> str:
        shown = ""
        for token in tokens:
            if token.type == "inline":
                shown += words(token.children or []) + "\n"
            elif token.type in ("softbreak", "hardbreak"):
                shown += "\n"
            else:
                shown += token.content + ("\n" if token.block else "")
        return shown

    return re.sub(r"<br>|^\[[ x]\] ", " ", words(_SLACK.parse(text)), flags=re.MULTILINE)


# Discord's own rules, as its client has them: the first that matches wins.
_DISCORD = re.compile(
    r"```(?:(?P<language>[a-zA-Z0-9_+\-.#]+?)\n)?\n*(?P<fence>[^\n][\s\S]*?)\n*```"
    r"|(?P<ticks>`+)(?P<code>[\s\S]*?[^`])(?P=ticks)(?!`)"
    r"|\\(?P<escaped>[^0-9A-Za-z\s])"
    r"|\[(?P<label>[^\[\]]+)\]\(<?https?://[^\s()]*(?:\([^\s()]*\)[^\s()]*)*>?(?:\s+[\"'][^\"']*[\"'])?\)"
)


def seen_on_discord(text: str) -> str:
    """What Discord shows of a message: the words, with marks that it does not know as they are written."""

    def seen(found: re.Match[str]) -> str:
        return next(
            part for part in (found["fence"], found["code"], found["escaped"], found["label"]) if part is not None
        )

    text = re.sub(r"\*\*|~~", "", _DISCORD.sub(seen, text))
    return re.sub(r"(?m)^(?:> )?[ \t]*\d+\. ", "", text)


@pytest.mark.parametrize("case", CORPUS)
def test_slack_shows_the_words_of_an_answer_in_their_order(case: str) -> None:
    text, expected = CORPUS[case]
    parts = _Thread.parts(object.__new__(_Thread), harmless(text, whole=True), whole=True)
    assert all(len(part) <= LIMIT for part in parts)
    assert words_of("\n".join(map(seen_in_slack, parts))) == expected


@pytest.mark.parametrize("case", CORPUS)
def test_discord_shows_the_words_of_an_answer_in_their_order(case: str) -> None:
    text, expected = CORPUS[case]
    parts = parts_of(text)
    assert all(len(part.encode("utf-16-le")) <= 4_000 for part in parts)
    assert words_of("\n".join(map(seen_on_discord, parts))) == expected
