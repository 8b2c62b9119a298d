"""Exports of others: which there are is asked of what they hold, not of how a file is called."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from core.archive.sources import Source
from core.archive.talks import Choice, Counted, Message, turns_of
from core.archive.values import TOO_LARGE
from core.archived import LATEST, ArchivedSession, ArchiveLine, Unreadable, storable, why_not

MOST_MESSAGES = 50_000  # of a conversation
A_FILE = "a file"
FILES = "files"
BEYOND = "messages of conversations that are too long"
WHY_TOO_LARGE = "it is too large"
_ID = re.compile(r"[\w.-]{1,200}", re.ASCII)
_CONVERSATIONS = re.compile(r"conversations(?:-\d{1,6})?\.json")
_MARKS = re.compile("\ue200[^\ue200\ue201]*\ue201")  # citations, which ChatGPT writes between private characters


@dataclass(frozen=True, slots=True)
class How:
    """How exports of others are read.

    Sessions that have no place here get a name that begins with `prefix`. `choose` says whose turns are those of an
    assistant with this id there. `bots` are the names and ids of the bot whose answers are taken over from chats of
    many, and `workspace` is the id by which Slack's is known here, where an export does not tell.
    """

    prefix: str
    choose: Callable[[str], Choice]
    bots: Sequence[str] = ()
    workspace: str = ""
    counted: Counted = field(default_factory=Counted)


class Format(Protocol):
    """A kind of export."""

    name: str

    def fits(self, source: Source) -> bool:
        """Whether a source is of this kind, as far as a look at it tells."""

    def read(self, source: Source, how: How) -> Iterator[ArchiveLine]:
        """Its sessions, each followed by its turns; and what cannot be read. Raises Broken and CannotImport."""


class ChatGPT:
    """What ChatGPT sends who exports their data: `conversations.json`, or the zip that it is in.

    A conversation is a tree of messages, of which the path to `current_node` is what its person sees. Nothing
    documents that; what was seen of it until November 2026 is read.
    """

    name = "ChatGPT's export"

    def fits(self, source: Source) -> bool:
        entry = next(iter(_conversations(source)), None)
        return entry is not None and _is_conversation(source.first_value(entry)[1])

    def read(self, source: Source, how: How) -> Iterator[ArchiveLine]:
        for entry in _conversations(source):
            for number, (_, value) in enumerate(source.values(entry)):
                where = f"{source.where(entry)}, conversation {number + 1:,}"
                yield from read_in_place(where, value, lambda value: self._conversation(value, how))

    def _conversation(self, value: Any, how: How) -> Iterator[ArchiveLine]:
        if not _is_conversation(value):
            raise ValueError("it is no conversation")
        id_ = id_in(value.get("conversation_id") or value.get("id"))
        at = time_in(value.get("create_time"))
        messages = [each for node in _path(value) if (each := _message_of_chatgpt(node, at, how.counted)) is not None]
        yield from session_lines(how.prefix + id_, f"chatgpt:{id_}", messages, how)


class AssistantsApi:
    """Messages of threads of OpenAI's Assistants API, as lists, arrays or lines of `thread.message` objects.

    That API answers no more since 2026-08-26. The messages of a thread stand together, in either order.
    """

    name = "a dump of the Assistants API"

    def fits(self, source: Source) -> bool:
        return _is_message_of_a_thread(source.first_value(next(iter(source.sizes)))[1])

    def read(self, source: Source, how: How) -> Iterator[ArchiveLine]:
        for entry in source.sizes:
            thread, found = "", list[Mapping[str, Any]]()
            for number, (context, value) in enumerate(source.values(entry)):
                if not _is_message_of_a_thread(value):
                    why = WHY_TOO_LARGE if value is TOO_LARGE else "it is no message of a thread"
                    yield Unreadable(where=f"{source.where(entry)}, message {number + 1:,}", why=why)
                    continue
                its = text_in(value.get("thread_id")) or text_in(context.get("id"))
                if its != thread and found:
                    yield from self._thread(source.where(entry), thread, found, how)
                    found = []
                thread = its
                if len(found) < MOST_MESSAGES:
                    found.append(value)
                else:
                    how.counted.leave_out(BEYOND)
            if found:
                yield from self._thread(source.where(entry), thread, found, how)

    def _thread(self, entry: str, thread: str, found: Sequence[Mapping[str, Any]], how: How) -> Iterator[ArchiveLine]:
        def read(_: object) -> Iterator[ArchiveLine]:
            name = how.prefix + id_in(thread)
            is_newest_first = time_in(found[0].get("created_at")) > time_in(found[-1].get("created_at"))
            in_order = sorted(reversed(found) if is_newest_first else found, key=lambda x: time_in(x.get("created_at")))
            messages = [_message_of_a_thread(each, how.counted) for each in in_order]
            yield from session_lines(name, f"assistants:{thread}", messages, how)

        yield from read_in_place(f"{entry}, thread {storable(thread)[:100]}", found, read)


FORMATS: Sequence[Format] = (ChatGPT(), AssistantsApi())


def session_lines(
    name: str, source: str, messages: Sequence[Message], how: How, *, named: bool = False
) -> Iterator[ArchiveLine]:
    """A session with the turns of its messages, which are in order. Nothing where these are no turns.

    Raises ValueError where its name cannot be that of a session.
    """
    turns = list(turns_of(messages, source, how.choose, how.counted, named=named))
    if turns:
        yield ArchivedSession(name=name, surface=name.partition(":")[0], created_at=turns[0].accepted_at)
        yield from turns


def read_in_place(where: str, value: Any, read: Callable[[Any], Iterable[ArchiveLine]]) -> Iterator[ArchiveLine]:
    """What is read of one conversation; that it cannot be, where `read` raises ValueError."""
    try:
        if value is TOO_LARGE:
            raise ValueError(WHY_TOO_LARGE)
        lines = list(read(value))
    except ValueError as error:
        yield Unreadable(where=where, why=why_not(error))
    else:
        yield from lines


def text_in(value: object) -> str:
    """A text where one is expected, else an empty one."""
    return storable(value) if isinstance(value, str) else ""


def time_in(value: object) -> float:
    """A time where one is expected, in seconds since 1970; else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if 0 <= value <= LATEST else 0.0


def object_in(value: object) -> Mapping[str, Any]:
    """An object where one is expected, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_in(value: object) -> Sequence[Any]:
    """A list where one is expected, else an empty one."""
    return value if isinstance(value, list) else ()


def id_in(value: object) -> str:
    """What may be the end of a session's name. Raises ValueError."""
    if not (isinstance(value, str) and _ID.fullmatch(value)):
        raise ValueError("it has no id, or one that cannot be the name of a session")
    return value


# ── ChatGPT ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _conversations(source: Source) -> Sequence[str]:
    found = [each for each in source.sizes if _CONVERSATIONS.fullmatch(each.rpartition("/")[2])]
    return found or ([*source.sizes] if len(source.sizes) == 1 else [])


def _is_conversation(value: object) -> bool:
    return isinstance(object_in(value).get("mapping"), dict)


def _path(conversation: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The nodes that its person sees, the first one first. Raises ValueError where that cannot be told."""
    nodes = conversation["mapping"]
    at = conversation.get("current_node")
    if not isinstance(at, str) or at not in nodes:
        leaves = [id_ for id_, node in nodes.items() if not list_in(object_in(node).get("children"))]
        if not leaves:
            raise ValueError("it has no last message")
        at = max(leaves, key=lambda id_: time_in(object_in(object_in(nodes[id_]).get("message")).get("create_time")))
    path: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    while isinstance(at, str) and at in nodes:
        if at in seen or len(path) >= MOST_MESSAGES:
            raise ValueError("its messages have no beginning")
        seen.add(at)
        path.append(object_in(nodes[at]))
        at = path[-1].get("parent")
    return path[::-1]


def without_marks(text: str) -> str:
    """A text without the citations that stand between marks in it."""
    return _MARKS.sub("", text)


def _message_of_chatgpt(node: Mapping[str, Any], otherwise_at: float, counted: Counted) -> Message | None:
    message, author = object_in(node.get("message")), object_in(object_in(node.get("message")).get("author"))
    content, about = object_in(message.get("content")), object_in(message.get("metadata"))
    role = author.get("role")
    is_hidden = bool(about.get("is_visually_hidden_from_conversation"))
    if role not in ("user", "assistant") or is_hidden or message.get("recipient", "all") != "all":
        return None  # tools, instructions, what is said to tools
    if content.get("content_type") not in ("text", "multimodal_text"):
        return None  # thoughts, calls and what came of them, what was set in the person's profile
    parts = list_in(content.get("parts"))
    spoken = (object_in(each).get("text") for each in parts)  # of what was said aloud there is a transcript
    text = "\n\n".join(filter(None, [text_in(each) for each in [*parts, *spoken]]))
    pictures = [each for each in parts if isinstance(each, dict) and "text" not in each]
    files = [text_in(object_in(each).get("name")) or A_FILE for each in list_in(about.get("attachments"))]
    files += [A_FILE] * (len(pictures) - len(files))
    is_answer = role == "assistant"
    counted.leave_out(FILES, len(files))
    if not text.strip() and (is_answer or not files):
        return None
    return Message(
        id=text_in(message.get("id")) or text_in(node.get("id")), text=without_marks(text), is_answer=is_answer,
        at=time_in(message.get("create_time")) or otherwise_at, files=() if is_answer else files,
    )  # fmt: skip


# ── the Assistants API ───────────────────────────────────────────────────────────────────────────────────────────────


def _is_message_of_a_thread(value: object) -> bool:
    return object_in(value).get("object") == "thread.message"


def _message_of_a_thread(message: Mapping[str, Any], counted: Counted) -> Message:
    parts = [object_in(each) for each in list_in(message.get("content"))]
    texts = (text_in(object_in(each.get("text")).get("value")) for each in parts if each.get("type") == "text")
    many = sum(each.get("type") in ("image_file", "image_url") for each in parts)
    many += len(list_in(message.get("attachments")))
    is_answer = message.get("role") == "assistant"
    counted.leave_out(FILES, many)
    return Message(
        id=id_in(message.get("id")), at=time_in(message.get("created_at")), text="\n\n".join(filter(None, texts)),
        is_answer=is_answer, files=() if is_answer else [A_FILE] * many, assistant=text_in(message.get("assistant_id")),
    )  # fmt: skip
