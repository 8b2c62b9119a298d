"""What is slow to fetch before a Slack question is asked: whether its person may ask, names, and the earlier thread."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from bots.shared.prepare import Preparing, Remembered
from bots.shared.words import EARLIER_IN_THIS_THREAD
from bots.slack.api import Refused, SlackApi
from bots.slack.destination import Destination
from bots.slack.settings import ALL_TEAMS
from bots.slack.status import Statuses
from bots.slack.words import ACCEPTED_SUBTYPES, SURFACE, is_for_us, people_in, readable, title_of, with_names
from core import Chat, Frame, Json, Preparation, Remarks, Turn

SECONDS_A_GROUP_IS_KNOWN = 300.0
SECONDS_TO_WAIT_FOR_A_NAME = 3.0
SECONDS_A_NAME_IS_KNOWN = 3600.0
EARLIER_MESSAGES = 50
MESSAGES_OF_A_PAGE, MOST_PAGES = 200, 5

ANOTHER_CHANNEL = "Sorry, I am not set up to answer in this channel."
ANOTHER_COMPANY = "Sorry, I answer members of this workspace only."
NOT_ON_THE_LIST = "Sorry, you are not on the list of people I may answer."
OTHERS_CAN_READ_IT = (
    "Others here can read the password that you typed, and what I answer. `/bob unlock` asks for it in a window of "
    "your own; you may want to delete your message."
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
        super().__init__(chat, SURFACE)
        self._api = api
        self._statuses = statuses
        self._allowed = allowed
        self._follows_up = follows_up
        self._names = Remembered[str, str]()
        self._groups = Remembered[str, Collection[str]]()

    async def _prepared(self, turn: Turn, to: Destination) -> Preparation:
        earlier = await self._earlier(turn, to)
        mentioned = people_in(turn.question).union(*(people_in(text) for _, text in earlier))
        names = await self._names_of({to["user"], *mentioned, *(user for user, _ in earlier)})
        if turn.number == 1 and not turn.private and turn.question:
            await self._statuses.name(to, title_of(self._chat.masked(with_names(turn.question, names))))
        told = [(names[user], with_names(text, names)) for user, text in earlier]
        return Preparation(
            question=with_names(turn.question, names),
            frame=replace(turn.frame or Frame(), speaker="" if to["kind"] == "im" else names[to["user"]]),
            remarks=[Remarks(EARLIER_IN_THIS_THREAD, told)] if told else [],
        )

    async def _warn(self, to: Destination) -> None:
        if to["kind"] != "im":
            await self._api.attempt(
                "chat.postEphemeral", channel=to["channel"], thread_ts=to["thread"], user=to["user"],
                text=OTHERS_CAN_READ_IT,
            )  # fmt: skip

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

    async def _names_of(self, users: Iterable[str]) -> Mapping[str, str]:
        wanted = sorted(users)
        return dict(zip(wanted, await asyncio.gather(*map(self._name_of, wanted)), strict=True))

    async def _name_of(self, user: str) -> str:
        name = self._names.last(user, user)
        if self._names.is_fresh(user):
            return name
        found = (await self._api.attempt("users.info", seconds=SECONDS_TO_WAIT_FOR_A_NAME, user=user)).get("user")
        if not found:
            return name
        profile = found.get("profile") or {}
        name = profile.get("display_name") or found.get("real_name") or profile.get("real_name") or found.get("name")
        return self._names.remember(user, " ".join(str(name or user).split()), seconds=SECONDS_A_NAME_IS_KNOWN)

    # ── the thread before the question ───────────────────────────────────────────────────────────────────────────────

    async def _earlier(self, turn: Turn, to: Destination) -> list[tuple[str, str]]:
        """Who wrote what in this thread since we last read it, but for what is a turn already and what Bob wrote."""
        if to["thread"] == to["ts"] or not to["addressed"]:
            return []
        before = await self._chat.before(turn)
        since = (before.destination or {}).get("ts") if before is not None else None
        if before is not None and (since is None or to["kind"] == "im"):
            return []
        in_ours = before is not None and self._follows_up
        messages = [
            each
            async for each in self._messages_before(to, since)
            if self._is_somebodys(each, to, since) and not is_for_us(each.get("text") or "", to["bot"], in_ours=in_ours)
        ]
        messages = messages[:1] + messages[1:][-(EARLIER_MESSAGES - 1) :]  # how it began, and what was said last
        key = f"{to['install']}:{to['channel']}:"
        return await self._never_asked(
            (key + each["ts"], each["user"], readable(each.get("text") or "")) for each in messages
        )

    async def _messages_before(self, to: Destination, since: str | None) -> AsyncIterator[Json]:
        more: Json = {"oldest": since} if since else {}
        for _ in range(MOST_PAGES):
            found = await self._api.attempt(
                "conversations.replies", channel=to["channel"], ts=to["thread"], latest=to["ts"],
                limit=MESSAGES_OF_A_PAGE, **more,
            )  # fmt: skip
            for message in found.get("messages") or ():
                yield message
            cursor = (found.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return
            more["cursor"] = cursor

    def _is_somebodys(self, message: Json, to: Destination, since: str | None) -> bool:
        if message.get("subtype") not in ACCEPTED_SUBTYPES or message.get("bot_id") or message.get("user") == to["bot"]:
            return False
        after = since is None or float(message["ts"]) > float(since)
        return bool(message.get("user")) and after and float(message["ts"]) < float(to["ts"])
