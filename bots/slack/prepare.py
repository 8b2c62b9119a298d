"""What is slow to fetch before a Slack question is asked: whether its person may ask, names, and the earlier thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from bots.shared.content import text_in
from bots.shared.prepare import Earlier, Preparing, Remembered
from bots.shared.quotes import Quotes
from bots.shared.words import EARLIER_IN_THIS_THREAD, SHOWN_BESIDES
from bots.slack.api import Refused, SlackApi
from bots.slack.content import ACCEPTED_SUBTYPES, author_of, content_of, is_of_an_app, raw_words_of, subtype_of
from bots.slack.destination import Destination
from bots.slack.settings import ALL_TEAMS
from bots.slack.shape import is_timestamp
from bots.slack.status import Statuses
from bots.slack.words import SURFACE, is_for_us, people_in, title_of, with_names
from core import Chat, Frame, Json, Preparation, Remarks, Turn, as_moment

SECONDS_A_GROUP_IS_KNOWN = 300.0
SECONDS_TO_WAIT_FOR_A_NAME = 3.0
SECONDS_A_NAME_IS_KNOWN = 3600.0
EARLIER_MESSAGES = 50
MOST_NAMES = 100  # that are looked up for one question
MESSAGES_OF_A_PAGE, MOST_PAGES = 200, 5

ANOTHER_CHANNEL = "Sorry, I am not set up to answer in this channel."
ANOTHER_COMPANY = "Sorry, I answer members of this workspace only."
NOT_ON_THE_LIST = "Sorry, you are not on the list of people I may answer."
OTHERS_CAN_READ_IT = (
    "Others here can read the password that you typed, and what I answer. `/bob unlock` asks for it in a window of "
    "your own; you may want to delete your message."
)
OTHERS_CAN_READ_THE_ANSWER = (
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


class SlackPreparing(Preparing[Destination]):
    """Prepares Slack turns; remembers names and groups for a while."""

    failures = (*Preparing.failures, Refused)

    def __init__(self, api: SlackApi, statuses: Statuses, chat: Chat, allowed: Allowed, *, follows_up: bool) -> None:
        super().__init__(chat, SURFACE, Quotes(chat, SURFACE, lambda id_: id_.partition(":")[2]))
        self._api = api
        self._statuses = statuses
        self._allowed = allowed
        self._follows_up = follows_up
        self._names = Remembered[str, str]()
        self._time_zones = Remembered[str, str]()
        self._groups = Remembered[str, Collection[str]]()

    async def _prepared(self, turn: Turn, to: Destination) -> Preparation:
        earlier, unread = await self._earlier(turn, to)
        asker = f"<@{to['user']}>"
        remarks = [Remarks(EARLIER_IN_THIS_THREAD, earlier)] if earlier else []
        for quoted in to.get("quoted") or ():
            told = await self.quotes.told(turn, quoted, is_picked=False)
            remarks += [told] if told is not None and told not in remarks else []
        if to.get("shown"):
            remarks.append(Remarks(SHOWN_BESIDES, [(asker, to["shown"])]))
        texts = [turn.question, *(text for each in remarks for said in each.said for text in said)]
        names = await self._names_of([to["user"], *dict.fromkeys(user for text in texts for user in people_in(text))])
        if turn.number == 1 and not turn.private and turn.question:
            await self._statuses.name(to, title_of(self._chat.masked(with_names(turn.question, names))))
        frame = replace(
            turn.frame or Frame(),
            speaker="" if to["kind"] == "im" else names[to["user"]],
            moment=as_moment(float(to["ts"] or "nan"), self._time_zones.last(to["user"], "")),
        )
        return Preparation(
            question=with_names(turn.question, names),
            frame=self._with_unread(frame, unread),
            remarks=[_with_names(each, names) for each in remarks],
        )

    async def _warn(self, to: Destination) -> None:
        if to["kind"] != "im":
            text = OTHERS_CAN_READ_THE_ANSWER if to.get("by_command") else OTHERS_CAN_READ_IT
            await self._api.attempt(
                "chat.postEphemeral", channel=to["channel"], thread_ts=to["thread"], user=to["user"], text=text
            )

    # ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────

    def refusal_at_once(self, to: Destination) -> str | None:
        """Why this person may not ask here, as far as that needs no look at user groups."""
        allowed = self._allowed
        if allowed.channels and to["kind"] != "im" and to["channel"] not in allowed.channels:
            return ANOTHER_CHANNEL
        if to["stranger"] and not allowed.takes(to["user_team"]):
            return ANOTHER_COMPANY
        if allowed.people and to["user"] not in allowed.people and not allowed.groups:
            return NOT_ON_THE_LIST
        return None

    def _needs_a_look(self, to: Destination) -> bool:
        return bool(self._allowed.people) and to["user"] not in self._allowed.people

    async def _refusal_after_a_look(self, to: Destination) -> str | None:
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

    async def _name_of(self, user: str) -> str:
        name = self._names.last(user, user)
        if self._names.is_fresh(user):
            return name
        found = (await self._api.attempt("users.info", seconds=SECONDS_TO_WAIT_FOR_A_NAME, user=user)).get("user")
        if not found:
            return name
        self._time_zones.remember(user, text_in(found.get("tz")), seconds=SECONDS_A_NAME_IS_KNOWN)
        profile = found.get("profile") or {}
        name = profile.get("display_name") or found.get("real_name") or profile.get("real_name") or found.get("name")
        return self._names.remember(user, " ".join(str(name or user).split()), seconds=SECONDS_A_NAME_IS_KNOWN)

    # ── the thread before the question ───────────────────────────────────────────────────────────────────────────────

    async def _earlier(self, turn: Turn, to: Destination) -> tuple[list[tuple[str, str]], list[str]]:
        """Who wrote what in this thread since we last read it, and what of it is unread.

        But for what is a turn already, or about to be, and what Bob wrote.
        """
        if to["thread"] == to["ts"] or not to["addressed"]:
            return [], []
        before = await self._chat.before(turn)
        since = (before.destination or {}).get("ts") if before is not None else None
        if before is not None and (since is None or to["kind"] == "im"):
            return [], []
        in_ours = before is not None and self._follows_up
        messages = [
            each
            async for each in self._messages_before(to, since)
            if _is_between(each, since, to["ts"]) and not self._is_ours(each, to, in_ours=in_ours)
        ]
        messages = messages[:1] + messages[1:][-(EARLIER_MESSAGES - 1) :]  # how it began, and what was said last
        key = f"{to['install']}:{to['channel']}:"
        earlier = [
            Earlier(key + each["ts"], author_of(each), content_of(each, self._chat.masked, to["install"]))
            for each in messages
        ]
        return await self._never_asked(earlier, to["bot"])

    async def _messages_before(self, to: Destination, since: str | None) -> AsyncIterator[Json]:
        more: Json = {"oldest": since} if since else {}
        for _ in range(MOST_PAGES):
            found = await self._api.attempt(
                "conversations.replies", channel=to["channel"], ts=to["thread"], latest=to["ts"],
                limit=MESSAGES_OF_A_PAGE, **more,
            )  # fmt: skip
            for message in found.get("messages") or ():
                if isinstance(message, dict):
                    yield message
            cursor = (found.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return
            more["cursor"] = cursor

    def _is_ours(self, message: Json, to: Destination, *, in_ours: bool) -> bool:
        """Whether we wrote it, or it is a question to us."""
        if is_of_an_app(message) or subtype_of(message) not in ACCEPTED_SUBTYPES:
            return message.get("user") == to["bot"]
        return message.get("user") == to["bot"] or is_for_us(raw_words_of(message), to["bot"], in_ours=in_ours)


def _is_between(message: Json, since: str | None, until: str) -> bool:
    ts = message.get("ts")
    return is_timestamp(ts) and ts != "" and (since is None or float(ts) > float(since)) and float(ts) < float(until)


def _with_names(remarks: Remarks, names: Mapping[str, str]) -> Remarks:
    said = [(with_names(speaker, names).removeprefix("@"), with_names(text, names)) for speaker, text in remarks.said]
    return Remarks(remarks.title, said)
