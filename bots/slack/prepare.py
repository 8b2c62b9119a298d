"""What is slow to fetch before a Slack question is asked: whether its person may ask, names, and the earlier thread."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bots.shared.content import text_in
from bots.shared.prepare import (
    SECONDS_FOR_FILES,
    SECONDS_OVERHEARD,
    SECONDS_TO_OVERHEAR,
    Context,
    Earlier,
    EarlierInThread,
    Preparing,
    Remembered,
)
from bots.shared.quotes import Quotes
from bots.shared.words import SHOWN_BESIDES
from bots.slack.api import Refused, SlackApi
from bots.slack.content import (
    ACCEPTED_SUBTYPES,
    OTHER_SUBTYPES,
    author_of,
    content_of,
    is_of_an_app,
    raw_words_of,
    readable,
    subtype_of,
)
from bots.slack.destination import Destination
from bots.slack.files import SlackFiles
from bots.slack.settings import ALL_TEAMS, MOST_CONTEXT_MESSAGES
from bots.slack.shape import is_timestamp
from bots.slack.status import Statuses
from bots.slack.words import (
    SURFACE,
    channels_in,
    is_for_us,
    mentions_a_group,
    people_in,
    title_of,
    with_names,
)
from core import Attachment, Chat, Frame, Json, Preparation, Refusal, Remarks, Sentence, Turn, as_moment

SECONDS_A_GROUP_IS_KNOWN = 300.0
SECONDS_TO_WAIT_FOR_A_NAME = 3.0
SECONDS_A_NAME_IS_KNOWN = 3600.0
SECONDS_UNTIL_A_LOCALE_IS_ASKED_FOR_AGAIN = 60.0
EARLIER_MESSAGES = 50
MOST_NAMES = 100  # that are looked up for one question
MOST_CHANNELS = 10  # that are looked up for one question
SECONDS_UNTIL_A_NAME_IS_LOOKED_UP_AGAIN = 300.0  # where that failed
OPEN_BESIDE_IT = "unread by you, but open beside this conversation, the channel"
LONGEST_NAME_OF_A_PLACE = 500  # of what is kept; the model is told less
MESSAGES_OF_A_PAGE = 200
MOST_LOOKS_AT_A_THREAD = 10
SHORTEST_LOOK_SECONDS = 0.0001
SECONDS_TO_READ_A_THREAD = 20.0

ANOTHER_CHANNEL = Refusal.by("SLACK_CHANNELS", Sentence("Sorry, I am not set up to answer in this channel."))
ANOTHER_COMPANY = Refusal.by("SLACK_STRANGERS", Sentence("Sorry, I answer members of this workspace only."))
NOT_ON_THE_LIST = Refusal.by("SLACK_PEOPLE", Sentence("Sorry, you are not on the list of people I may answer."))
OTHERS_CAN_READ_IT = Sentence(
    "Others here can read the password that you typed, and what I answer. `/bob unlock` asks for it in a window of "
    "your own; you may want to delete your message."
)
OTHERS_CAN_READ_THE_ANSWER = Sentence(
    "Others here can read what I answer, though not the password that you typed. `/bob unlock` asks for it in a window "
    "of your own."
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may ask: in which channels, which people (`U…`) and user groups (`S…`), and people of which other companies.

    An empty list of channels or people allows all. A list of channels does not concern DMs.
    """

    channels: Collection[str] = ()
    people: Collection[str] = ()
    strangers: Collection[str] = ()

    def takes(self, team: str) -> bool:
        """Whether people of another company may ask."""
        return ALL_TEAMS in self.strangers or team in self.strangers

    @property
    def groups(self) -> list[str]:
        """The user groups on the list of people."""
        return [each for each in self.people if each.startswith("S")]


@dataclass(frozen=True, slots=True)
class Channel:
    """What is known of a channel. Its name may be told elsewhere if it is public, for then everybody may see it."""

    name: str = ""
    topic: str = ""
    is_public: bool = False


class SlackPreparing(Preparing[Destination]):
    """Prepares Slack turns; remembers names and groups for a while."""

    failures = (*Preparing.failures, Refused)

    def __init__(
        self, api: SlackApi, statuses: Statuses, chat: Chat, allowed: Allowed, files: SlackFiles, *, follows_up: bool,
        overhears: int,
    ) -> None:  # fmt: skip
        super().__init__(chat, SURFACE, Quotes(chat, SURFACE, lambda id_: id_.partition(":")[2]))
        self._api = api
        self._statuses = statuses
        self._allowed = allowed
        self._files = files
        self._follows_up = follows_up
        self._overhears = overhears  # so many messages
        self._names = Remembered[str, str]()
        self._locales = Remembered[str, str]()
        self._time_zones = Remembered[str, str]()
        self._groups = Remembered[str, Collection[str]]()
        self._channels = Remembered[str, Channel]()
        self._names_of_groups = Remembered[str, Mapping[str, str]]()

    async def _prepared(self, turn: Turn, to: Destination) -> Preparation:
        attached = await self._chat.attach(turn, self._files.fetches(to), seconds=SECONDS_FOR_FILES)
        spoken = await self._spoken(turn, attached)
        question = turn.question if spoken is None else spoken
        context = await self._earlier(turn, to)
        asker = f"<@{to['user']}>" if to["user"] else to.get("app", "")
        remarks = [*context.remarks]
        for quoted in to.get("quoted") or ():
            told = await self.quotes.told(turn, quoted, is_picked=False)
            remarks += [told] if told is not None and told not in remarks else []
        if shown := _shown_besides(to, attached):
            remarks.append(Remarks(SHOWN_BESIDES, [(asker, shown)]))
        here = await self._channel(to["channel"]) if to["kind"] == "channel" else Channel()
        beside = await self._channel(to["beside"]) if to.get("beside") else Channel()
        texts = [question, here.topic, *(text for each in remarks for said in each.said for text in said)]
        names = {**await self._names_in("\n".join(texts), to), to["channel"]: here.name or "channel"}
        if turn.number == 1 and not turn.private and turn.question:
            title = title_of(self._chat.masked(with_names(question, names)), self.known_locale_of(to["user"]))
            await self._statuses.name(to, title)
        frame = replace(
            turn.frame or Frame(),
            speaker="" if to["kind"] == "im" else _speaker(to, names),
            moment=as_moment(float(to["ts"] or "nan"), self._time_zones.last(to["user"], "")),
            surroundings=self._surroundings(here, beside, names),
            people=await self._people_told(turn, to, context, names),
        )
        return Preparation(
            question=with_names(question, names),
            frame=self._with_unread(frame, context.unread),
            remarks=[_with_names(each, names) for each in remarks],
        )

    async def _warn(self, to: Destination) -> None:
        if to["kind"] != "im":
            sentence = OTHERS_CAN_READ_THE_ANSWER if to.get("by_command") else OTHERS_CAN_READ_IT
            text = sentence.in_language(await self.locale_of(to["user"]))
            await self._api.attempt(
                "chat.postEphemeral", channel=to["channel"], thread_ts=to["thread"], user=to["user"], text=text
            )

    # ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────

    def refusal_at_once(self, to: Destination) -> Sentence | None:
        """Why this person may not ask here, as far as that needs no look at user groups."""
        allowed = self._allowed
        if allowed.channels and to["kind"] != "im" and to["channel"] not in allowed.channels:
            return ANOTHER_CHANNEL
        if to["stranger"] and not allowed.takes(to["user_team"]):
            return ANOTHER_COMPANY
        if allowed.people and _is_somebody(to) and to["user"] not in allowed.people and not allowed.groups:
            return NOT_ON_THE_LIST
        return None

    def _needs_a_look(self, to: Destination) -> bool:
        return bool(self._allowed.people) and _is_somebody(to) and to["user"] not in self._allowed.people

    async def _refusal_after_a_look(self, to: Destination) -> Sentence | None:
        is_member = any([to["user"] in await self._members(group) for group in self._allowed.groups])
        return None if is_member else NOT_ON_THE_LIST

    async def _members(self, group: str) -> Collection[str]:
        if self._groups.is_fresh(group):
            return self._groups.last(group, ())
        found = await self._api.call("usergroups.users.list", usergroup=group)
        return self._groups.remember(group, frozenset(found["users"]), seconds=SECONDS_A_GROUP_IS_KNOWN)

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _names_of(self, users: Sequence[str]) -> Mapping[str, str]:
        """The names of so many of these people."""
        wanted = users[:MOST_NAMES]
        return dict(zip(wanted, await asyncio.gather(*map(self._name_of, wanted)), strict=True))

    async def locale_of(self, user: str, seconds: float = SECONDS_TO_WAIT_FOR_A_NAME) -> str:
        """The locale of somebody, like `de-DE`; empty where Slack does not tell it within so many seconds."""
        if user and not self._locales.is_fresh(user):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._name_of(user)
        return self.known_locale_of(user)

    def known_locale_of(self, user: str) -> str:
        """The locale of somebody, as far as Slack has told it."""
        return self._locales.last(user, "")

    async def _names_in(self, text: str, to: Destination) -> dict[str, str]:
        """The names of who asks, and of the people, channels and user groups that a text mentions without them."""
        people = [*dict.fromkeys([*([to["user"]] if to["user"] else []), *people_in(text)])]
        channels = channels_in(text)[:MOST_CHANNELS]
        names, found, groups = await asyncio.gather(
            self._names_of(people), asyncio.gather(*map(self._channel, channels)), self._groups_named_in(text)
        )
        public = {id_: each.name for id_, each in zip(channels, found, strict=True) if each.is_public and each.name}
        return {**groups, **public, **names}

    def _surroundings(self, here: Channel, beside: Channel, names: Mapping[str, str]) -> list[tuple[str, str]]:
        """What people named the place where something is asked, and the channel that they have open beside it."""
        named = [("channel", here.name), ("topic", with_names(here.topic, names)), (OPEN_BESIDE_IT, beside.name)]
        return [(what, self._chat.masked(name)[:LONGEST_NAME_OF_A_PLACE]) for what, name in named if name]

    async def _channel(self, id_: str) -> Channel:
        known = self._channels.last(id_, Channel())
        if self._channels.is_fresh(id_):
            return known
        looked_up = await self._api.look(
            "conversations.info", "channels:read", channel=id_, seconds=SECONDS_TO_WAIT_FOR_A_NAME
        )
        found = looked_up.get("channel")
        if not isinstance(found, dict):
            return self._channels.remember(id_, known, seconds=SECONDS_UNTIL_A_NAME_IS_LOOKED_UP_AGAIN)
        has_a_name = not (found.get("is_im") or found.get("is_mpim"))
        topic = found.get("topic")
        channel = Channel(
            text_in(found.get("name")) if has_a_name else "",
            readable(text_in(topic.get("value"))) if has_a_name and isinstance(topic, dict) else "",
            is_public=found.get("is_private") is False and has_a_name,
        )
        return self._channels.remember(id_, channel, seconds=SECONDS_A_NAME_IS_KNOWN)

    async def _people_told(
        self, turn: Turn, to: Destination, context: Context, names: Mapping[str, str]
    ) -> Sequence[Sequence[str]]:
        if to["kind"] == "im":
            return ()
        people = dict.fromkeys([*([to["user"]] if to["user"] else []), *(person for _, person in context.people)])
        return await self._people(turn, [(names[id_], id_) for id_ in people if names.get(id_, id_) != id_])

    async def _groups_named_in(self, text: str) -> Mapping[str, str]:
        known = self._names_of_groups.last("", {})
        if not mentions_a_group(text) or self._names_of_groups.is_fresh(""):
            return known
        found = (await self._api.attempt("usergroups.list", seconds=SECONDS_TO_WAIT_FOR_A_NAME)).get("usergroups")
        groups = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
        names = {text_in(each.get("id")): text_in(each.get("handle")) or text_in(each.get("name")) for each in groups}
        seconds = SECONDS_A_NAME_IS_KNOWN if names else SECONDS_UNTIL_A_NAME_IS_LOOKED_UP_AGAIN
        return self._names_of_groups.remember("", names or known, seconds=seconds)

    async def _name_of(self, user: str) -> str:
        name = self._names.last(user, user)
        if self._names.is_fresh(user):
            return name
        seconds = SECONDS_TO_WAIT_FOR_A_NAME
        told = await self._api.attempt("users.info", seconds=seconds, user=user, include_locale=True)
        found = told.get("user")
        if not found:
            self._locales.remember(user, self.known_locale_of(user), seconds=SECONDS_UNTIL_A_LOCALE_IS_ASKED_FOR_AGAIN)
            return name
        self._locales.remember(user, text_in(found.get("locale")), seconds=SECONDS_A_NAME_IS_KNOWN)
        self._time_zones.remember(user, text_in(found.get("tz")), seconds=SECONDS_A_NAME_IS_KNOWN)
        profile = found.get("profile") or {}
        name = profile.get("display_name") or found.get("real_name") or profile.get("real_name") or found.get("name")
        return self._names.remember(user, " ".join(str(name or user).split()), seconds=SECONDS_A_NAME_IS_KNOWN)

    # ── what was said before the question ────────────────────────────────────────────────────────────────────────────

    async def _earlier(self, turn: Turn, to: Destination) -> Context:
        """What was said before it: in its thread since we last read it, or above it where it is in none.

        But for what is a turn already, or about to be, and what Bob wrote.
        """
        if not to["addressed"] or to.get("by_command"):
            return Context()
        if to["thread"] == to["ts"] or to.get("goes_on"):
            return await self._overheard(await self._above(to), to["bot"])
        before = await self._chat.before(turn)
        since = (before.destination or {}).get("ts") if before is not None else None
        if before is not None and (since is None or to["kind"] == "im"):
            return Context()
        in_ours = before is not None and self._follows_up
        return await self._of_a_thread(await self._thread(to, since, in_ours=in_ours), to["bot"])

    async def _above(self, to: Destination) -> list[Earlier]:
        """The last messages of the channel before the question, the oldest first."""
        if not self._overhears or to["kind"] == "im":
            return []
        found = await self._api.look(
            "conversations.history", "channels:history", channel=to["channel"], seconds=SECONDS_TO_OVERHEAR,
            oldest=f"{float(to['ts']) - SECONDS_OVERHEARD:.6f}", latest=to["ts"],
            limit=min(2 * self._overhears, MOST_CONTEXT_MESSAGES),
        )  # fmt: skip
        newest_first = [each for each in _messages_in(found) if _says_something(each)]
        said = [each for each in reversed(newest_first) if not self._is_ours(each, to, in_ours=False)]
        return self._read(to, said[-self._overhears :])

    async def _thread(self, to: Destination, since: str | None, *, in_ours: bool) -> EarlierInThread:
        """How the thread began, unless that was told before, and what was said in it last."""

        def to_be_told(messages: Sequence[Json]) -> list[Json]:
            between = [each for each in messages if _is_between(each, since, to["ts"])]
            return [each for each in between if not self._is_ours(each, to, in_ours=in_ours)]

        first, last = await self._looks_at_the_thread(to, since)
        if last == []:  # Slack told no more of it
            return EarlierInThread(self._read(to, to_be_told(first)[:EARLIER_MESSAGES]), left_out=None)
        root = [each for each in first[:1] if each["ts"] == to["thread"]]
        said = to_be_told([each for each in (first if last is None else last) if each["ts"] != to["thread"]])
        told = said[-(EARLIER_MESSAGES - 1) :]
        left_out: int | None = len(said) - len(told)
        if last is not None:
            replies = root[0].get("reply_count") if root and since is None else None
            told_or_later = 1 + sum(float(each["ts"]) >= float(told[0]["ts"]) for each in last) if told else 0
            left_out = max(replies - told_or_later, 1) if isinstance(replies, int) else None
        return EarlierInThread(self._read(to, to_be_told(root)), self._read(to, told), left_out)

    async def _looks_at_the_thread(self, to: Destination, since: str | None) -> tuple[list[Json], list[Json] | None]:
        """The first messages of the thread, and the last ones before the question; None where the first are all.

        Slack tells the oldest first. So the last ones are looked for in shorter and longer times before the question,
        until they are enough and not more than it tells at once; times are halved by their ratio.
        """
        first, is_all = await self._look_at_the_thread(to, since)
        if is_all:
            return first, None
        last: list[Json] = []
        seconds = max(float(to["ts"]) - float(since or to["thread"]), 2 * SHORTEST_LOOK_SECONDS)
        shortest, longest = math.log(SHORTEST_LOOK_SECONDS), math.log(seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_TO_READ_A_THREAD):
                for _ in range(MOST_LOOKS_AT_A_THREAD):
                    middle = (shortest + longest) / 2
                    oldest = f"{float(to['ts']) - math.exp(middle):.6f}"
                    found, is_all = await self._look_at_the_thread(to, oldest)
                    found = [each for each in found if _is_between(each, oldest, to["ts"])]
                    if is_all and len(found) >= len(last):
                        last = found
                    if len(last) >= EARLIER_MESSAGES:
                        break
                    shortest, longest = (middle, longest) if is_all else (shortest, middle)
        return first, last

    async def _look_at_the_thread(self, to: Destination, oldest: str | None) -> tuple[list[Json], bool]:
        """The first messages of the thread after `oldest`, and whether there are no others before the question."""
        more: Json = {"oldest": oldest} if oldest else {}
        found = await self._api.attempt(
            "conversations.replies", channel=to["channel"], ts=to["thread"], latest=to["ts"],
            limit=MESSAGES_OF_A_PAGE, **more,
        )  # fmt: skip
        cursor = (found.get("response_metadata") or {}).get("next_cursor")
        return _messages_in(found), not (cursor or found.get("has_more"))

    def _read(self, to: Destination, messages: Sequence[Json]) -> list[Earlier]:
        key = f"{to['install']}:{to['channel']}:"
        return [
            Earlier(key + each["ts"], author_of(each), content_of(each, self._chat.masked, to["install"]),
                    _person(each))
            for each in messages
        ]  # fmt: skip

    def _is_ours(self, message: Json, to: Destination, *, in_ours: bool) -> bool:
        """Whether we wrote it, or it is a question to us."""
        if is_of_an_app(message) or subtype_of(message) not in ACCEPTED_SUBTYPES:
            return message.get("user") == to["bot"]
        return message.get("user") == to["bot"] or is_for_us(raw_words_of(message), to["bot"], in_ours=in_ours)


def _shown_besides(to: Destination, attached: Sequence[Attachment]) -> str:
    """What a message shows besides its words; of a file that cannot be read, what the message itself has of it."""
    previews = [
        f"{file['name']}:\n{file['preview']}"
        for file, attachment in zip(to.get("files") or (), attached, strict=False)
        if attachment.problem is not None and file.get("preview")
    ]
    return "\n".join(part for part in (to.get("shown", ""), *previews) if part)


def _is_somebody(to: Destination) -> bool:
    """Whether it is asked from an account, and by no app that has none."""
    return bool(to["user"]) or "app" not in to


def _speaker(to: Destination, names: Mapping[str, str]) -> str:
    if "app" not in to:
        return names[to["user"]]
    return f"{names[to['user']]} (app)" if to["user"] else to["app"]


def _messages_in(found: Json) -> list[Json]:
    messages = found.get("messages")
    known = [each for each in messages if isinstance(each, dict)] if isinstance(messages, list) else []
    return [each for each in known if is_timestamp(each.get("ts")) and each["ts"]]


def _says_something(message: Json) -> bool:
    """Whether somebody or an app says it, and not Slack, as it does that somebody came or went."""
    return is_of_an_app(message) or subtype_of(message) not in OTHER_SUBTYPES


def _person(message: Json) -> str:
    """Who says it, where that is somebody and no app."""
    user = text_in(message.get("user"))
    return user if people_in(author_of(message)) == [user] and not is_of_an_app(message) else ""


def _is_between(message: Json, since: str | None, until: str) -> bool:
    ts = message.get("ts")
    return is_timestamp(ts) and ts != "" and (since is None or float(ts) > float(since)) and float(ts) < float(until)


def _with_names(remarks: Remarks, names: Mapping[str, str]) -> Remarks:
    said = [(with_names(speaker, names).removeprefix("@"), with_names(text, names)) for speaker, text in remarks.said]
    return Remarks(remarks.title, said)
