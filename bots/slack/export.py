"""An export of a Slack workspace, as administrators get it: the threads in which a bot took part.

Sources: slack.com/help/articles/220556107 on how to read it. A folder for each channel has a file of messages for each
day; `channels.json`, `groups.json`, `dms.json` and `mpims.json` tell their ids, `users.json` who people are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bots.slack.content import author_of, is_of_an_app, raw_words_of, readable, subtype_of
from bots.slack.destination import Destination, Kind
from bots.slack.words import message_id, message_key, person_id, session_id, with_names
from core import (
    ArchiveLine,
    CannotImport,
    HowToImport,
    ImportedMessage,
    Json,
    Source,
    list_in,
    object_in,
    read_in_place,
    session_lines,
    text_in,
)

# Files that list folders: by what these are called, channels by their names and the rest by ids; and what they are.
LISTS: Mapping[str, tuple[str, Kind]] = {
    "channels": ("name", "channel"), "groups": ("name", "channel"), "mpims": ("name", "mpim"),
    "dms": ("id", "im"),
}  # fmt: skip
OUR_NAME = "Bob"
SAID = (None, "thread_broadcast", "me_message", "file_share", "bot_message")
MOST_BOTS_NAMED = 10
_DAY = re.compile(r"(?P<folder>[^/]+)/\d{4}-\d\d-\d\d\.json")
_TS = re.compile(r"\d{1,12}\.\d{1,9}", re.ASCII)
_ID = re.compile(r"[A-Z][A-Z0-9]{1,39}", re.ASCII)


@dataclass(slots=True)
class _Workspace:
    """What an export tells before any message."""

    install: str
    people: dict[str, str] = field(default_factory=dict)  # names by ids
    bots: set[str] = field(default_factory=set)  # ids and names, in small letters, of the one that is taken over
    others: dict[str, None] = field(default_factory=dict)  # bots that were met
    is_met: bool = False


@dataclass(frozen=True, slots=True)
class _Channel:
    id: str
    kind: Kind
    days: Sequence[str]


class SlackExport:
    """See above. A session has the name under which Bob goes on in its thread."""

    name = "an export of Slack's"

    def fits(self, source: Source) -> bool:
        """See `Format`."""
        return any(_file(each) in source.sizes for each in LISTS) and any(map(_DAY.fullmatch, source.sizes))

    def read(self, source: Source, how: HowToImport) -> Iterator[ArchiveLine]:
        """See `Format`."""
        here = _Workspace(how.workspace, bots={each.casefold() for each in (how.bots or [OUR_NAME])})
        for _, user in _listed(source, "users"):
            _note_user(here, object_in(user))
        if not here.install:
            raise CannotImport(f"{source.name} does not tell the id of its workspace: name it with --workspace T….")
        for channel in _channels(source):
            yield from _threads(source, channel, here, how)
        if not here.is_met:
            others = ", ".join([*here.others][:MOST_BOTS_NAMED]) or "none"
            raise CannotImport(f"{source.name} has no message of the bot: name it with --bot. It has: {others}.")


def _file(name: str) -> str:
    return f"{name}.json"


def _listed(source: Source, name: str) -> Iterable[tuple[Mapping[str, Any], Any]]:
    """What a file of a list holds, where there is one."""
    return source.values(_file(name)) if _file(name) in source.sizes else ()


def _note_user(here: _Workspace, user: Mapping[str, Any]) -> None:
    id_, profile = text_in(user.get("id")), object_in(user.get("profile"))
    if not _ID.fullmatch(id_):
        return
    names = [text_in(each) for each in (profile.get("display_name"), profile.get("real_name"), user.get("name"))]
    here.people[id_] = next(filter(None, names), id_)
    if user.get("is_bot") is True and here.bots & {name.casefold() for name in names if name}:
        here.bots.add(id_.casefold())
    here.install = here.install or text_in(user.get("team_id"))


def _channels(source: Source) -> Iterator[_Channel]:
    days: dict[str, list[str]] = {}
    for entry in source.sizes:
        if found := _DAY.fullmatch(entry):
            days.setdefault(found["folder"], []).append(entry)
    for name, (folder_is, kind) in LISTS.items():
        for _, each in _listed(source, name):
            id_, folder = text_in(object_in(each).get("id")), text_in(object_in(each).get(folder_is))
            if _ID.fullmatch(id_) and folder in days:
                yield _Channel(id_, kind, days.pop(folder))


def _threads(source: Source, channel: _Channel, here: _Workspace, how: HowToImport) -> Iterator[ArchiveLine]:
    """The threads of a channel in which the bot took part, in the order in which they began.

    They are looked for first, so that only their messages are in memory.
    """
    ours = {_thread_of(each) for each in _messages(source, channel) if _is_the_bot(each, here)}
    threads: dict[str, list[Json]] = {each: [] for each in sorted(ours)}
    for each in _messages(source, channel) if ours else ():
        if (thread := _thread_of(each)) in threads:
            threads[thread].append(each)
    for thread, messages in threads.items():
        where = f"{source.name}: {session_id(here.install, channel.id, thread)}"
        yield from read_in_place(where, messages, partial(_session, thread, channel, here, how))


def _messages(source: Source, channel: _Channel) -> Iterator[Json]:
    """Whatever has a time and may say something, day by day."""
    for day in channel.days:
        for _, value in source.values(day):
            message = object_in(value)
            if _TS.fullmatch(text_in(message.get("ts"))) and subtype_of(dict(message)) in SAID:
                yield dict(message)


def _thread_of(message: Json) -> str:
    thread = text_in(message.get("thread_ts"))
    return thread if _TS.fullmatch(thread) else text_in(message["ts"])


def _is_the_bot(message: Json, here: _Workspace) -> bool:
    if not is_of_an_app(message) and text_in(message.get("user")).casefold() not in here.bots:
        return False
    profile = object_in(message.get("bot_profile"))
    ids = (message.get("user"), message.get("bot_id"), message.get("app_id"), message.get("username"))
    known = [text_in(each) for each in (*ids, profile.get("name"))]
    if here.bots & {each.casefold() for each in known if each}:
        here.is_met = True
        return True
    if name := text_in(profile.get("name")) or text_in(message.get("username")):
        here.others[name] = None
    return False


def _session(
    thread: str, channel: _Channel, here: _Workspace, how: HowToImport, found: Sequence[Json]
) -> Iterator[ArchiveLine]:
    by_time = sorted({text_in(each["ts"]): each for each in found}.values(), key=lambda each: float(each["ts"]))
    bot = next((id_ for each in by_time if _is_the_bot(each, here) and (id_ := text_in(each.get("user")))), "")
    messages = [said for each in by_time if (said := _said(each, thread, channel, here, bot)) is not None]
    name = session_id(here.install, channel.id, thread)
    yield from session_lines(name, name, messages, how, named=channel.kind != "im")


def without_mention(text: str, bot: str) -> str:
    """What is said to us, without the mention that it begins with, and by our name where there are others."""
    if not bot:
        return text
    opening = re.compile(rf"^\s*(?:<@{re.escape(bot)}>[\s,:]*)+")
    return opening.sub("", text).replace(f"<@{bot}>", f"@{OUR_NAME}")


def _markdown_of(message: Json) -> str:
    """What is said in blocks of Markdown, of which the text of a message has the beginning only."""
    blocks = [object_in(each) for each in list_in(message.get("blocks"))]
    return "\n\n".join(text_in(each.get("text")) for each in blocks if each.get("type") == "markdown")


def _said(message: Json, thread: str, channel: _Channel, here: _Workspace, bot: str) -> ImportedMessage | None:
    ts, user = text_in(message["ts"]), text_in(message.get("user"))
    is_answer = _is_the_bot(message, here)
    if not is_answer and is_of_an_app(message):
        return None
    text = with_names(without_mention(readable(raw_words_of(message)), bot), here.people)
    files = [text_in(object_in(each).get("name")) or "a file" for each in list_in(message.get("files"))]
    if is_answer:
        text = _markdown_of(message) or text
        shown = {"ts": ts, "id": message_id(channel.id, ts)}
        return ImportedMessage(ts, float(ts), text, is_answer=True, shown=shown) if text.strip() else None
    if not _ID.fullmatch(user) or not (text.strip() or files):
        return None
    destination: Destination = {
        "install": here.install, "team": text_in(message.get("team")) or here.install, "bot": bot, "user": user,
        "channel": channel.id, "user_team": text_in(message.get("user_team")) or text_in(message.get("team")),
        "kind": channel.kind, "ts": ts, "thread": thread, "stranger": False, "addressed": True,
    }  # fmt: skip
    return ImportedMessage(
        ts, float(ts), text, is_answer=False, person=person_id(here.install, user),
        name=here.people.get(user, "") or author_of(message), files=files,
        event_id=message_key(here.install, channel.id, ts), destination={**destination},
    )  # fmt: skip
