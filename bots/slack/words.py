"""Slack's words and ours: what an event asks, where its answer belongs, and text in both directions. All of it is pure.

Sources: docs.slack.dev on events/message, events/app_mention, formatting message text and the markdown block.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from bots.shared import incoming, words
from bots.shared.content import Content, Mask, text_in
from bots.shared.mentions import where_code_is
from bots.shared.plain_text import plain_text
from bots.shared.titles import title
from bots.slack.content import (
    ACCEPTED_SUBTYPES,
    APP_SUBTYPES,
    OTHER_SUBTYPES,
    author_of,
    content_of,
    ids_of_app,
    is_of_an_app,
    raw_words_of,
    readable,
    subtype_of,
)
from core import Json, Sentence, Turn, as_moment

SURFACE = "slack"
LONGEST_TITLE = 80
LONGEST_QUESTION_SHOWN = 3_000
LONGEST_FALLBACK, LONGEST_FALLBACK_SOURCE = 300, 2_000
SLACKBOT = "USLACKBOT"
A_CHANNEL = "slack#/types/channel_id"  # among what somebody has open

_NAMED = re.compile(r"<(?P<sign>@(?=[UW])|#|!subteam\^)(?P<id>[A-Z][A-Z0-9]{0,39})(?:\|[^<>]*)?>")
_CHANNEL = re.compile(r"[CG][A-Z0-9]{1,39}", re.ASCII)
_SIGNS = {"@": ("@", ""), "#": ("#", "channel"), "!subteam^": ("@", "group")}
_SOMEBODY = re.compile(r"<(?:@([UW][A-Z0-9]+)|!(?:subteam\^|here|channel|everyone))")
_BROADCAST = re.compile(r"<!(channel|here|everyone|subteam\^[A-Z0-9]+)(?:\|([^<>\n]*))?>?", re.IGNORECASE)
_NAMES = re.compile(r"<(?:@[UW][A-Z0-9]{1,20}|#[CG][A-Z0-9]{1,20})(?:\|[^<>\n]{0,80})?>")
_UNFINISHED = re.compile(r"<(?:![^<>\n]{0,80}|@[A-Z0-9]{0,20}(?:\|[^<>\n]{0,80})?)?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming(incoming.Incoming):
    """A message of a person in Slack. `thread` is that of the answer, which a message may open."""

    install: str
    team: str
    bot: str
    user: str
    user_team: str
    is_stranger: bool
    kind: str  # "im", "mpim", "channel"; a mention does not tell, and counts as a channel's
    ts: str
    thread: str
    content: Content

    def is_after(self, destination: Mapping[str, Any]) -> bool:
        """Whether it was said after the message that is answered there."""
        return float(destination.get("ts", 0)) < float(self.ts)

    def continuing(self, key: str) -> Self:
        """See `bots.shared.incoming.Incoming.continuing`: the answer belongs under the mention."""
        ts = key.rpartition(":")[2]
        destination = {**self.destination, "thread": ts, "addressed": True, "goes_on": True}
        session = session_id(self.install, self.channel, ts)
        return replace(self, session=session, thread=ts, is_addressed=True, destination=destination)


def session_id(install: str, channel: str, thread: str) -> str:
    """The session of a thread."""
    return f"slack:{install}:{channel}:{thread}"


def place_id(install: str, channel: str) -> str:
    """The place that a channel or DM is."""
    return f"slack:{install}:{channel}"


def message_id(channel: str, ts: str) -> str:
    """What a message is known by: timestamps are unique within a channel only."""
    return f"{channel}:{ts}"


def message_key(install: str, channel: str, ts: str) -> str:
    """What a message that is a question is known by, however often it is delivered."""
    return f"{install}:{channel}:{ts}"


def withheld_in(minute: object) -> str | None:
    """What it is known by that Slack withheld events in a minute, of which it tells in seconds since 1970."""
    is_told = isinstance(minute, int) and not isinstance(minute, bool)
    return f"withheld:{int(minute) // 60}" if is_told else None  # type: ignore[call-overload]


def person_id(install: str, user: str) -> str:
    """A person, as the core knows them."""
    return f"slack:{install}:{user}"


def install_of(body: Mapping[str, Any]) -> str:
    """The workspace, or the organisation if the app is installed there."""
    whose = (body.get("authorizations") or [{}])[0]
    enterprise = body.get("enterprise_id") or (body.get("enterprise") or {}).get("id")
    if whose.get("is_enterprise_install") or body.get("is_enterprise_install") in (True, "true"):
        return str(whose.get("enterprise_id") or enterprise)
    team = whose.get("team_id") or body.get("team_id") or (body.get("team") or {}).get("id")
    return str(team or enterprise)


@dataclass(frozen=True, slots=True)
class _Author:
    """Who says something: a user, or the apps with these ids, which are nobody."""

    user: str
    app: Collection[str] | None
    team: str
    is_stranger: bool

    @classmethod
    def of(cls, body: Mapping[str, Any], event: Json) -> Self:
        whose = (body.get("authorizations") or [{}])[0]
        ours = _team_of(body, event)
        # In a channel of a partner's `source_team` is theirs, whoever writes.
        team = str(event.get("user_team") or event.get("team") or event.get("source_team") or ours)
        # Workspaces of one organisation share channels without being strangers to each other.
        organisation = whose.get("enterprise_id")
        is_within_ours = body.get("is_ext_shared_channel") is False and bool(organisation or body.get("enterprise_id"))
        return cls(
            event.get("user") or "",
            ids_of_app(event) if is_of_an_app(event) else None,
            team,
            is_stranger=not (is_within_ours or team in (ours, install_of(body), organisation)),
        )

    def is_heard(self, body: Mapping[str, Any], event: Json, bot: str, apps: Collection[str]) -> bool:
        """Whether it is a person, or one of these `apps`, who may say something by such an event."""
        subtype = subtype_of(event)
        if self.user in (bot, SLACKBOT) or (subtype in OTHER_SUBTYPES and not (self.app and subtype in APP_SUBTYPES)):
            return False
        if self.app is None:
            return bool(self.user)
        is_ours = text_in(body.get("api_app_id")) in self.app
        return not (is_ours or {*apps}.isdisjoint(self.app) or event.get("channel_type") == "im")


def parse_message(
    body: Mapping[str, Any], event: Json, masked: Mask = str, apps: Collection[str] = (), *, masked_speech: Mask = str
) -> Incoming | None:
    """What a person, or one of these `apps`, says in this message or mention; None where it is nobody's, or nothing
    that was said.

    What nobody said to us with it (names of files, quotes, tables) is `masked`, so that it is no place for passwords;
    and so is all that an app says, whoever made it say that. What was heard in recordings is `masked_speech`.
    """
    bot = (body.get("authorizations") or [{}])[0].get("user_id") or ""
    author = _Author.of(body, event)
    if not event.get("channel") or not event.get("ts") or not author.is_heard(body, event, bot, apps):
        return None
    raw, mentioned = raw_words_of(event), _mention_of(bot)
    mentions_us = event.get("type") == "app_mention" or bool(mentioned and mentioned.search(raw))
    kind = {"im": "im", "mpim": "mpim"}.get(event.get("channel_type", ""), "channel")
    is_addressed = kind == "im" or mentions_us
    if subtype_of(event) not in ACCEPTED_SUBTYPES and not is_addressed:
        return None  # it is new to us: somebody may say something by it, or not
    opens_with = _SOMEBODY.match(raw.lstrip())
    content = content_of(event, masked, install_of(body), takes_files=True, masked_speech=masked_speech)
    text = readable(_without_us(raw, mentioned)).strip()
    source = {
        "install": install_of(body), "bot": bot, "user": author.user, "channel": event["channel"],
        "team": _team_of(body, event), "user_team": author.team, "kind": kind, "ts": event["ts"],
        "thread": event.get("thread_ts") or event["ts"],
    }  # fmt: skip
    install, channel, ts, thread = source["install"], source["channel"], source["ts"], source["thread"]
    session, place = session_id(install, channel, thread), place_id(install, channel)
    person = person_id(install, author.user if author.app is None else min(author.app))
    destination = _destination_of_message(event, author, source, content, masked, is_addressed=is_addressed)
    return Incoming(
        key=message_key(install, channel, ts),  # a mention in a channel comes as two events
        # One thing said was delivered as two messages, 39 s apart.
        gesture=f"gesture:{install}:{channel}:{sent[:100]}" if (sent := event.get("client_msg_id")) else None,
        session=session,
        place=place,
        person=person,
        text=text if author.app is None else masked(text),
        destination=destination,
        asker="" if kind == "im" else author.user or destination["app"],
        by_app=author.app is not None,
        # Each message that is said directly opens a thread; in a channel nothing is heard without a mention.
        line_key=f"{session if thread != ts else place}:{person}" if thread != ts or kind == "im" else "",
        joins_earlier=not content.has_more_than_words,
        files=content.unread,
        is_addressed=is_addressed,
        mentions_us=mentions_us,
        is_follow_up=author.app is None and thread != ts and (opens_with is None or opens_with[1] == bot),
        is_for_somebody_else=opens_with is not None and opens_with[1] != bot,
        is_stranger=author.is_stranger,
        said_at=float(ts),
        is_bare=mentions_us and thread == ts and not (text or content.has_more_than_words),
        next_is_heard=event.get("type") == "message",
        may_go_on=kind != "im" and thread == ts and (mentions_us or opens_with is None),
        content=content,
        **source,
    )


def _team_of(body: Mapping[str, Any], event: Json) -> str:
    whose = (body.get("authorizations") or [{}])[0]
    return str(whose.get("team_id") or body.get("team_id") or event.get("team") or "")


def _without_us(text: str, mentioned: re.Pattern[str] | None) -> str:
    """A text without the mentions of us that it begins with, and with our name for the others."""
    if mentioned is None:
        return text
    return mentioned.sub("@Bob", re.sub(rf"^\s*(?:{mentioned.pattern}[\s,:]*)+", "", text))


def _destination_of_message(
    event: Json, author: _Author, source: Mapping[str, str], content: Content, masked: Mask, *, is_addressed: bool
) -> dict[str, Any]:
    made: dict[str, Any] = {
        **source, "stranger": author.is_stranger, "addressed": is_addressed, "shown": content.shown,
        **_beside(event, source["kind"]),
    }  # fmt: skip
    if content.files:
        made["files"] = [*content.files]
    if author.app is not None:  # no person, whoever made it say this: what they may do is not for it
        made["app"] = masked(author_of(event))
    return made


def is_unheard_mention(body: Mapping[str, Any], event: Json, apps: Collection[str]) -> bool:
    """Whether an app mentions us that is none of these `apps`, and not ourselves."""
    app = ids_of_app(event) if is_of_an_app(event) else set()
    bot = (body.get("authorizations") or [{}])[0].get("user_id") or ""
    if not app or app & {*apps} or text_in(body.get("api_app_id")) in app or event.get("user") == bot:
        return False
    mentioned = _mention_of(bot)
    return event.get("type") == "app_mention" or bool(mentioned and mentioned.search(raw_words_of(event)))


def _mention_of(bot: str) -> re.Pattern[str] | None:
    return re.compile(rf"<@{re.escape(bot)}(?:\|[^<>]*)?>") if bot else None


def _beside(event: Json, kind: str) -> dict[str, str]:
    """The channel that whoever writes has open beside a direct message; docs.slack.dev on app_context_changed."""
    context = event.get("app_context") if kind == "im" else None
    entities = context.get("entities") if isinstance(context, dict) else None
    for each in entities if isinstance(entities, list) else ():
        if isinstance(each, dict) and each.get("type") == A_CHANNEL and isinstance(id_ := each.get("value"), str):
            return {"beside": id_} if _CHANNEL.fullmatch(id_) else {}
    return {}


def is_for_us(text: str, bot: str, *, in_ours: bool) -> bool:
    """Whether a message is a question to us: a turn already, or one as soon as Slack has delivered it.

    `in_ours` says that it is in a thread where we answer without a mention.
    """
    return f"<@{bot}>" in text or f"<@{bot}|" in text or (in_ours and not _SOMEBODY.match(text.lstrip()))


def people_in(text: str) -> list[str]:
    """The ids of the people that a text mentions, in order."""
    return _ids_in(text, "@")


def channels_in(text: str) -> list[str]:
    """The ids of the channels that a text mentions without their names, in order."""
    return _ids_in(text, "#")


def mentions_a_group(text: str) -> bool:
    """Whether a text mentions a user group without its name."""
    return bool(_ids_in(text, "!subteam^"))


def with_names(text: str, names: Mapping[str, str]) -> str:
    """A text with the names of people, channels and user groups for their ids."""

    def named(found: re.Match[str]) -> str:
        sign, otherwise = _SIGNS[found["sign"]]
        return sign + names.get(found["id"], otherwise or found["id"])

    return _NAMED.sub(named, text)


def _ids_in(text: str, sign: str) -> list[str]:
    return [*dict.fromkeys(found["id"] for found in _NAMED.finditer(text) if found["sign"] == sign)]


def harmless(text: str, *, whole: bool) -> str:
    """An answer that notifies nobody who was not meant: mentions of everybody become plain words.

    In code, which people copy, a blank is put into them, and nothing that cannot be seen. Unless the text is `whole`,
    an end that may become a mention is left out, and so is what follows one that may be in code.
    """
    if not whole:
        text = _UNFINISHED.sub("", text)
    mentions = list(_BROADCAST.finditer(text))
    are_in_code, end = where_code_is(text, mentions, whole=whole)
    pieces: list[str] = []
    position = 0
    for mention, is_in_code in zip(mentions, are_in_code, strict=False):
        pieces += [text[position : mention.start()], _quiet(mention, in_code=is_in_code)]
        position = mention.end()
    return "".join([*pieces, text[position:end]])


def _quiet(mention: re.Match[str], *, in_code: bool) -> str:
    if in_code:
        return mention[0].replace("<!", "<! ", 1)
    return "@\u2060" + (mention[2] or mention[1].partition("^")[0]).lstrip("@")


def shown(turn: Turn, text: str, locale: str = "", *, whole: bool) -> str:
    """What a reader sees of a turn's answer: the answer, and before it what has to be said about the question."""
    bot = (turn.destination or {}).get("bot")
    answer = harmless(text, whole=whole)
    if bot:
        answer = re.sub(rf"<@{re.escape(bot)}(?:\|[^<>]*)?>", "Bob", answer)
    return words.above_the_answer(turn, locale) + answer if answer else answer


def fallback(text: str) -> str:
    """The plain text that notifications show of a Markdown message. `chat.update` takes 4,000 characters of it.

    Slack's own markup stays where it names people, channels or links; else it is escaped.
    """
    line = plain_text(text[:LONGEST_FALLBACK_SOURCE]).strip()[:LONGEST_FALLBACK]
    pieces: list[str] = []
    position = 0
    for found in _NAMES.finditer(line):
        pieces += [_escaped(line[position : found.start()]), found[0]]
        position = found.end()
    return "".join([*pieces, _escaped(line[position:])]) or "…"


def question_shown(user: str, question: str, locale: str) -> str:
    """A message that shows what somebody asks by a command, or that they do. It notifies nobody else."""
    if not question:
        return Sentence("{person} asks something that I do not repeat.", person=f"<@{user}>").in_language(locale)
    cut = question[:LONGEST_QUESTION_SHOWN] + ("…" if len(question) > LONGEST_QUESTION_SHOWN else "")
    return Sentence("{person} asks: {question}", person=f"<@{user}>", question=_escaped(cut)).in_language(locale)


def moment_shown(at: float) -> str:
    """A time, in seconds since 1970, that Slack shows to each reader in their own time zone and language."""
    return f"<!date^{int(at)}^{{date_short_pretty}} {{time_secs}}|{as_moment(at)}>"


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def title_of(question: str, locale: str = "") -> str:
    """A title for a conversation that begins with this question."""
    return words.NO_WORDS.in_language(locale) if question == words.NO_WORDS else title(question, LONGEST_TITLE, locale)
