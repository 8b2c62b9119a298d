"""What is slow to fetch before a Slack question is asked: whether its person may ask, names, and the earlier thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from bots.shared.reply import InDoubt, Undeliverable
from bots.shared.words import EARLIER_IN_THIS_THREAD
from bots.slack.api import Refused, SlackApi
from bots.slack.status import Statuses
from bots.slack.words import ACCEPTED_SUBTYPES, SURFACE, is_for_us, people_in, readable, title_of, with_names
from core import Chat, Frame, Json, NotAllowed, Preparation, Remarks, Turn

SECONDS_TO_CHECK = 20.0
SECONDS_A_GROUP_IS_KNOWN = 300.0
SECONDS_TO_WAIT_FOR_A_NAME = 3.0
SECONDS_A_NAME_IS_KNOWN = 3600.0
MOST_NAMES = 10_000
EARLIER_MESSAGES = 50
MESSAGES_OF_A_PAGE, MOST_PAGES = 200, 5
LONGEST_EARLIER_MESSAGE = 2_000

ANOTHER_CHANNEL = "Sorry, I am not set up to answer in this channel."
ANOTHER_COMPANY = "Sorry, I answer members of this workspace only."
NOT_ON_THE_LIST = "Sorry, you are not on the list of people I may answer."
OTHERS_CAN_READ_IT = (
    "Others here can read the password that you typed, and what I answer. `/bob unlock` asks for it in a window of "
    "your own; you may want to delete your message."
)
NOT_SURE = "Sorry, I could not find out whether I may answer you. Please ask again in a minute."


@dataclass(frozen=True, slots=True)
class Allowed:
    """Who may ask: in which channels, which people (`U…`) and user groups (`S…`), and whether other companies may.

    An empty list allows all. A list of channels does not concern DMs.
    """

    channels: Collection[str] = ()
    people: Collection[str] = ()
    strangers: bool = False

    def refusal(self, *, channel: str, kind: str, user: str, stranger: bool) -> str | None:
        """Why this person may not ask here, as far as that needs no look at user groups."""
        if self.channels and kind != "im" and channel not in self.channels:
            return ANOTHER_CHANNEL
        if stranger and not self.strangers:
            return ANOTHER_COMPANY
        if self.people and user not in self.people and not self.groups:
            return NOT_ON_THE_LIST
        return None

    @property
    def groups(self) -> list[str]:
        """The user groups on the list of people."""
        return [each for each in self.people if each.startswith("S")]


class SlackPreparing:
    """Prepares Slack turns; remembers names and groups for a while."""

    def __init__(self, api: SlackApi, statuses: Statuses, chat: Chat, allowed: Allowed, *, follows_up: bool) -> None:
        self._api = api
        self._statuses = statuses
        self._chat = chat
        self._allowed = allowed
        self._follows_up = follows_up
        self._names: dict[str, tuple[float, str]] = {}
        self._groups: dict[str, tuple[float, Collection[str]]] = {}

    async def __call__(self, turn: Turn) -> Preparation:
        """Prepare a turn. Raises NotAllowed."""
        to = turn.destination or {}
        await self._check(to)
        if turn.said_password and to["kind"] != "im":
            await self._warn(to)
        earlier = await self._earlier(turn, to)
        mentioned = people_in(turn.question).union(*(people_in(text) for _, text in earlier))
        names = await self._names_of({to["user"], *mentioned, *(user for user, _ in earlier)})
        if turn.number == 1 and not turn.private and turn.question:
            await self._statuses.name(to, title_of(self._chat.masked(with_names(turn.question, names))))
        incoming = [(names[user], with_names(text, names)) for user, text in earlier]
        return Preparation(
            question=with_names(turn.question, names),
            frame=replace(turn.frame or Frame(), speaker="" if to["kind"] == "im" else names[to["user"]]),
            remarks=[Remarks(EARLIER_IN_THIS_THREAD, incoming)] if incoming else [],
        )

    # ── who may ask ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def _check(self, to: Json) -> None:
        refusal = await self.refusal(to, SECONDS_TO_CHECK)
        if refusal is not None:
            raise NotAllowed(refusal if to["addressed"] else "")

    async def refusal(self, to: Json, seconds: float) -> str | None:
        """Why this person may not ask here, found out within so many seconds; None if they may."""
        refusal = self._allowed.refusal(
            channel=to["channel"], kind=to["kind"], user=to["user"], stranger=to["stranger"]
        )
        if refusal is not None or not self._allowed.people or to["user"] in self._allowed.people:
            return refusal
        try:
            async with asyncio.timeout(seconds):
                is_member = any([to["user"] in await self._members(group) for group in self._allowed.groups])
        except (TimeoutError, Refused, InDoubt, Undeliverable):
            return NOT_SURE
        return None if is_member else NOT_ON_THE_LIST

    async def _members(self, group: str) -> Collection[str]:
        until, members = self._groups.get(group, (0.0, ()))
        if until < time.monotonic():
            found = await self._api.call("usergroups.users.list", usergroup=group)
            members = frozenset(found["users"])
            self._groups[group] = time.monotonic() + SECONDS_A_GROUP_IS_KNOWN, members
        return members

    async def _warn(self, to: Json) -> None:
        await self._api.attempt(
            "chat.postEphemeral",
            channel=to["channel"],
            thread_ts=to["thread"],
            user=to["user"],
            text=OTHERS_CAN_READ_IT,
        )

    # ── names ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _names_of(self, users: Iterable[str]) -> Mapping[str, str]:
        wanted = sorted(users)
        return dict(zip(wanted, await asyncio.gather(*map(self._name_of, wanted)), strict=True))

    async def _name_of(self, user: str) -> str:
        until, name = self._names.get(user, (0.0, user))
        if until > time.monotonic():
            return name
        found = (await self._api.attempt("users.info", seconds=SECONDS_TO_WAIT_FOR_A_NAME, user=user)).get("user")
        if not found:
            return name
        profile = found.get("profile") or {}
        name = profile.get("display_name") or found.get("real_name") or profile.get("real_name") or found.get("name")
        if len(self._names) >= MOST_NAMES:
            self._names.clear()
        name = " ".join(str(name or user).split())
        self._names[user] = time.monotonic() + SECONDS_A_NAME_IS_KNOWN, name
        return name

    # ── the thread before the question ───────────────────────────────────────────────────────────────────────────────

    async def _earlier(self, turn: Turn, to: Json) -> list[tuple[str, str]]:
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
        turns = await self._chat.known_events(SURFACE, [key + each["ts"] for each in messages])
        return [
            (each["user"], self._chat.masked(readable(each.get("text") or ""))[:LONGEST_EARLIER_MESSAGE])
            for each in messages
            if key + each["ts"] not in turns
        ]

    async def _messages_before(self, to: Json, since: str | None) -> AsyncIterator[Json]:
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

    def _is_somebodys(self, message: Json, to: Json, since: str | None) -> bool:
        if message.get("subtype") not in ACCEPTED_SUBTYPES or message.get("bot_id") or message.get("user") == to["bot"]:
            return False
        after = since is None or float(message["ts"]) > float(since)
        return bool(message.get("user")) and after and float(message["ts"]) < float(to["ts"])
