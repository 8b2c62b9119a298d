"""Whatever of the page reads text from outside takes time in proportion to its length.

The next such function is held to it by a line in READERS, and the next nasty thing to write by one in PIECES.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.test_linear_time import PIECES as OF_ALL_PLATFORMS
from tests.web.browser.conftest import Pad

READERS = {
    "an answer": "(text) => view().show(text)",
    "formulas": "(text) => formulas.hidden(text)",
    "the end of what breaks off": "(text) => markdown.mended(text)",
    "an address": "(text) => markdown.safeAddress(text)",
    "an address on the web": "(text) => markdown.safeAddress(`https://${text}`)",
    "named characters": "(text) => decoded(text)",
    "the first characters": "(text) => firstCharacters(text, text.length / 2)",
    "a language": "(text) => languageOf([text, text])",
    "events that come in pieces": """async (text) => {
      const line = `data: ${JSON.stringify(text)}\\n\\n`;
      const body = new ReadableStream({ start(to) {
        const bytes = new TextEncoder().encode(line);
        for (let at = 0; at < bytes.length; at += 100) to.enqueue(bytes.slice(at, at + 100));
        to.close();
      } });
      for await (const { data } of api.parsed(body, () => {})) if (data.length !== text.length) throw new Error("lost");
    }""",
    "lines of events": """async (text) => {
      const body = new ReadableStream({ start(to) { to.enqueue(new TextEncoder().encode(text)); to.close(); } });
      for await (const event of api.parsed(body, () => {})) void event;
    }""",
}
MARKDOWN = (
    "\n\n", "\n ", "\n    ", "- a\n", "  - a\n", "1. a\n", "> a\n", "> ", "- [ ", "[ ]", "[a]: ", "[a]: b\n", "[a](",
    "a  \n", "-\n", "=\n", "<a ", "<a>", "<br", "<div>\n", "</", "<!--", "a@b.", "a.", "http://", "www.", "*a _b ",
    "`a ``b ", "~~a ", "__", "(", "+ ", "'", "$", "$$", "$a$ ", "\\(",
    "\\[a\n", "\\(a\\)", "\\begin{align}", "**\u201c\u597d", "<sub>",
)  # fmt: skip
PIECES = (*OF_ALL_PLATFORMS, *MARKDOWN)
BEFORE = ("", "a", "# ", "- ", "> a", "[a](")
PAIRED = (
    " ", "\t", "\n", "a", "*", "_", "`", "~", "<", "[", "]", "(", ")", "|", ">", "- ", "a\n", "- a\n", "> a\n", "#",
    "&", "1", "\\", "=",
)  # fmt: skip
SHAPES = [
    *((before, piece, "x") for piece in PIECES for before in BEFORE),
    *(("", one + other, "x") for at, one in enumerate(PAIRED) for other in PAIRED[:at]),
]

# What is quick at once is quick enough; what is not must take much less than 16 times as long for four times the text.
LOOK = """
async ({ markdown, en, languageOf, decoded, firstCharacters, place }, { shapes, length, longest, tries: most }) => {
  const api = await import("/static/api.js");
  const formulas = new (await import("/static/formulas.js")).Formulas();
  const view = () => {
    place.replaceChildren();
    return new markdown.Markdown(place, { words: en, announce() {} });
  };
  const reader = READER;
  const textOf = ([before, piece, behind], length) => before + piece.repeat(length / piece.length) + behind;
  const took = async (shape, length) => {
    const text = textOf(shape, length);
    const began = performance.now();
    await reader(text);
    return performance.now() - began;
  };
  let count = 0, slow;
  for (const shape of JSON.parse(shapes)) {
    count++;
    if (await took(shape, length) < 5) continue;
    let [long, short] = [Infinity, Infinity];
    for (let tries = most; tries; tries--) { // by turns, so that a busy machine slows down both
      long = Math.min(long, await took(shape, longest));
      short = Math.min(short, await took(shape, longest / 4));
      slow = long > 60 && long > 8 * short;
      if (!slow) break;
    }
    if (slow) return { count, slow: textOf(shape, 20) };
  }
  return { count, slow: "" };
}
"""


def looked_at(pad: Pad, reader: str, *, tries: int = 12) -> Any:
    lengths = {"length": 6_000, "longest": 32_000}
    return pad.run(LOOK.replace("READER", reader), {"shapes": json.dumps(SHAPES), **lengths, "tries": tries})


@pytest.mark.thorough
@pytest.mark.parametrize("reader", READERS)
def test_a_text_takes_time_in_proportion_to_its_length(pad: Pad, reader: str) -> None:
    assert looked_at(pad, READERS[reader]) == {"count": len(SHAPES), "slow": ""}


def test_a_reader_that_takes_time_in_proportion_to_the_square_of_the_length_is_found(pad: Pad) -> None:
    assert looked_at(pad, r"(text) => /^[ \t]*\|?[ \t]*:?-+x/.test(text)", tries=2)["slow"] != ""
