"""What Bob says and tells the model in the same words on every chat platform."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from core import NO_WORDS as NO_WORDS  # which is said on every platform as well
from core import Attachment, Sentence, Turn, name_in_language, problem_of_a_file, with_note

EARLIER_IN_THIS_THREAD = "Earlier in this thread, the oldest first"
LAPSED = "_{lapsed} is locked again here, so this is answered by {assistant}._"
NOT_SEEN = "_I have not seen: {names}_"
MARKUP = "*_`~<>|\n@[]\\"  # of either platform, in the names of files
NOT_SEEN_BEFORE = "_Of what was said before I have not seen: {names}_"
OVERHEARD = "Said here shortly before, the oldest first, among others: none of it was said to you"
SHOWN_BESIDES = "What the message shows besides its words"
LONGEST_NAME_OF_A_FILE = 100
HEARD = "> 🎙 {heard}\n\n"
LONGEST_HEARD = 250


def after_a_gap(messages: int | None) -> str:
    """The title of what was said last in a long thread, of which so many `messages` before it are left out.

    None: nobody knows how many.
    """
    number = "many messages" if messages is None else f"{messages:,} message{'s' if messages != 1 else ''}"
    return f"Earlier in this thread: … {number} left out …, then, the oldest first"


def plain_name(name: str, markup: str) -> str:
    """A name without the characters that mean something to a platform, on one line."""
    for special in markup:
        name = name.replace(special, " ")
    return " ".join(name.split())


def names_of_files(names: Iterable[str], masked: Callable[[str], str]) -> list[str]:
    """The names of files as they are told and shown. No word is cut before it is masked: half a password is none."""
    return [masked(name)[:LONGEST_NAME_OF_A_FILE] for name in names]


def told_locale(destination: Mapping[str, Any] | None) -> str:
    """The locale that is stored with a question; empty where none is."""
    locale = (destination or {}).get("locale")
    return locale if isinstance(locale, str) else ""


def above_the_answer(turn: Turn, locale: str = "") -> str:
    """What a person is told before the answer itself: that it is private, or is not any more; what was heard, and what
    was not read.

    Where nothing was kept of what they said, nothing: they are told one sentence, which is always the same.
    """
    if turn.unread:
        return ""
    mark = f"🔒 _{turn.assistant}_\n\n" if turn.private else ""
    if turn.lapsed and not turn.private:
        mark = f"{Sentence(LAPSED, lapsed=turn.lapsed, assistant=turn.assistant).in_language(locale)}\n\n"
    mark += "".join(HEARD.format(heard=heard) for each in turn.attachments if (heard := what_was_heard(each)))
    unread = [name_in_language(name, locale) for name in (turn.frame.attached if turn.frame is not None else ())]
    unread += [_with_its_problem(each, locale) for each in turn.attachments if each.problem is not None]
    not_seen = Sentence(NOT_SEEN, names=", ".join(unread)).in_language(locale)
    return mark + (f"{not_seen}\n\n" if unread else "")


def what_was_heard(attachment: Attachment) -> str:
    """The beginning of what is said in a recording, as it can be shown; empty where it is none."""
    heard = plain_name(attachment.heard, MARKUP)
    return heard if len(heard) <= LONGEST_HEARD else f"{heard[:LONGEST_HEARD].rstrip()}…"


def below_the_answer(text: str, unread: Sequence[str], locale: str) -> str:
    """An answer, and what a person is told after it: what was not read of what was said before."""
    not_seen = Sentence(NOT_SEEN_BEFORE, names=_listed(unread, locale)).in_language(locale)
    return with_note(text, not_seen) if unread else text


def _with_its_problem(attachment: Attachment, locale: str) -> str:
    name = name_in_language(plain_name(attachment.name, MARKUP) or "a file", locale)
    return f"{name} ({problem_of_a_file(attachment.problem or '').in_language(locale)})"


def _listed(names: Sequence[str], locale: str) -> str:
    return ", ".join(name_in_language(name, locale) for name in names)
