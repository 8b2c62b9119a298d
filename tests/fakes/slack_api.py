"""A faithful, stateful fake of Slack: its Web API, its events over HTTP and Socket Mode, and the people who use it.

In a test::

    with FakeSlack() as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.url)
        slack.deliver_to("http://127.0.0.1:8000/slack/events")  # without it: the sockets that the app opens
        ts = slack.says("U1", "C1", "<@U0BOT> hello")
        await slack.until(lambda slack: slack.replies("C1", ts) == ["Hello, Ada."])
        assert slack.violations == []

It serves in a thread of its own; everything here may be called from any thread, and nothing but `wait_for` and
`Interaction.wait` blocks. By hand: `python -m tests.fakes.slack_api --port 8766 --events-url URL`.

The company: U1 Ada, U2 Grace, U3 Root (an admin), U8 Zoe of another company, U9 another bot, U0BOT the app itself.
C1 and C2 are channels, C3 one that the bot is not in, C8 one that is shared with Zoe's company, P1 is private, G1 a
group of U1 and U2, D1 to D3 are direct messages of U1 to U3 with the bot, S1 is the user group "engineers".

What people do: `says`, `edits`, `deletes`, `unfurls`, `opens_messages_tab`, `opens_home`, `presses_stop`,
`renames_session`, `uninstalls`, and `slash`, `clicks`, `clicks_in_view`, `shortcut`, `submits`, `closes`. These last
return an `Interaction`: await it until the app has acknowledged it; `text`, `answer` and `errors` are what it said.

What a test looks at: `replies`, `messages`, `message`, `bot_messages`, `files_in`, `previewed`, `ephemerals`,
`sessions`, `statuses`, `prompts`, `open_views`, `homes`, `calls`, `deliveries`, `violations`, `impatience`.

What a test steers: `fail` ("an upload" is of the bytes of a file), `enforce_tiers`, `scopes`, `stream_seconds`,
`ack_timeout`, `retry_delays`, `is_agent`, `native_streaming`, `mention_first`, `team_in_events`, `events`,
`looks_before_a_file_is_shared`, `refresh_sockets`, `drop_sockets`, `deliver_again`, `gives_again`.
"""

import argparse
import signal
import threading
from collections.abc import Callable, Collection, Sequence
from types import TracebackType
from typing import Any, Self

from tests.fakes import slack_events as events
from tests.fakes.slack_changes import Changes
from tests.fakes.slack_delivery import Answer, Deliveries, Delivery, Errand
from tests.fakes.slack_events import Outgoing
from tests.fakes.slack_faults import TIERS, Fault
from tests.fakes.slack_interactions import SECONDS, Interaction, Setting
from tests.fakes.slack_messages import Message
from tests.fakes.slack_server import Call, Download, Server
from tests.fakes.slack_state import State
from tests.fakes.slack_world import APP, BOT_ID, BOT_USER, TEAM, File, Json, User

__all__ = ["Call", "Delivery", "FakeSlack", "Fault", "Interaction", "Message"]


class FakeSlack:
    """A Slack of one's own."""

    team, bot_user, bot_id, app_id = TEAM, BOT_USER, BOT_ID, APP

    bot_token = Setting[str]("_server.access.bot_token")
    app_token = Setting[str]("_server.access.app_token")
    scopes = Setting[set[str]]("_server.access.scopes")
    refusal = Setting[str | None]("_server.access.refusal")
    """With what every call is refused: "account_inactive", "token_revoked"."""
    signing_secret = Setting[str]("_deliveries.manner.signing_secret")
    ack_timeout = Setting[float]("_deliveries.manner.ack_timeout")
    retry_delays = Setting[tuple[float, ...]]("_deliveries.manner.retry_delays")
    events = Setting[set[str]]("_state.events")
    """What the app is subscribed to, as a manifest names it."""
    is_agent = Setting[bool]("_state.is_agent")
    native_streaming = Setting[bool]("_state.native_streaming")
    mention_first = Setting[bool]("_state.mention_first")
    team_in_events = Setting[bool]("_state.team_in_events")
    looks_before_a_file_is_shared = Setting[int]("_state.looks_before_a_file_is_shared")
    """How often `files.info` is asked of a file that the app uploaded before a message shows it."""
    stream_seconds = Setting[float]("_state.stream_seconds")
    status_seconds = Setting[float]("_state.status_seconds")
    trigger_seconds = Setting[float]("_state.views.trigger_seconds")
    tiers = Setting[dict[str, tuple[int, float]]]("_server.limits.tiers")

    def __init__(self) -> None:
        self.violations: list[str] = []
        """What no correct app does, and this one did."""
        self._changes = Changes(self._described)
        self._state = State(self._publish, self._blame)
        self._deliveries = Deliveries(self._changes, self._blame)
        self._server = Server(self._state, self._changes, self._deliveries, self._blame)
        self._interactions: dict[Outgoing, Interaction] = {}

    # ── starting and stopping ────────────────────────────────────────────────

    def start(self, port: int | None = None) -> Self:
        """Serve on this port, or on the one served on before, or on a free one. What is kept is kept on."""
        self._server.start(port)
        return self

    def stop(self) -> None:
        """Close every connection and the port. What could not be delivered is delivered after the next start."""
        self._server.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.stop()
        if error is None and self._server.crashes:
            raise self._server.crashes[0]

    @property
    def port(self) -> int:
        """Where it serves."""
        return self._server.port

    @property
    def url(self) -> str:
        """What a client is given as its base URL."""
        return f"http://127.0.0.1:{self.port}/api/"

    def deliver_to(self, url: str | None) -> None:
        """Deliver by HTTP from now on (None: over sockets)."""
        self._deliveries.manner.url = url

    async def verify(self, url: str) -> None:
        """Ask for the challenge, as Slack does when somebody enters an URL for events."""
        await self._server.run(self._deliveries.verify(url))

    def _blame(self, violation: str) -> None:
        with self._changes.changing():
            self.violations.append(violation)

    def _publish(self, outgoing: Outgoing) -> None:
        """Have something delivered, now or after the next start. It is called while the lock is held."""
        errand = Errand(outgoing, lambda answer: self._answered(outgoing, answer))
        self._deliveries.errands[errand] = None
        self._server.run_soon(lambda: self._deliveries.run(errand))

    def _answered(self, outgoing: Outgoing, answer: Answer) -> None:
        if interaction := self._interactions.pop(outgoing, None):
            interaction.settle(answer)

    # ── who there is ─────────────────────────────────────────────────────────

    def add_user(self, id: str, name: str, *, team: str = TEAM, is_admin: bool = False, is_bot: bool = False) -> None:
        """Somebody more."""
        with self._changes.changing():
            bot_id = f"B{id[1:]}" if is_bot else None
            self._state.world.users[id] = User(id, name, team, is_admin, is_bot, bot_id)

    def speaks(self, user: str, locale: str) -> None:
        """Somebody has Slack in another language."""
        with self._changes.changing():
            self._state.world.users[user].locale = locale

    def add_channel(
        self,
        id: str,
        kind: str = "channel",
        members: Collection[str] = ("U1", "U2"),
        *,
        bot: bool = True,
        ext_shared: bool = False,
        archived: bool = False,
        topic: str = "",
    ) -> None:
        """A conversation more: a "channel", a "private" one, an "mpim" or an "im"."""
        with self._changes.changing():
            channel = self._state.world.add_channel(id, kind, members, bot=bot, ext_shared=ext_shared)
            channel.archived, channel.topic = archived, topic

    def add_usergroup(self, id: str, name: str, members: Collection[str]) -> None:
        """A group of people more."""
        with self._changes.changing():
            self._state.world.usergroups[id] = (name, list(members))

    def add_file(self, name: str, content: bytes, mimetype: str = "text/plain", user: str = "U1", **how: Any) -> str:
        """A file that can be shared by `says(files=[id])`. `how` are attributes of `File`."""
        with self._changes.changing():
            file = File(self._state.clock.id("F"), name, content, mimetype, user, **how)
            self._state.world.files[file.id] = file
            return file.id

    @property
    def downloads(self) -> Sequence[Download]:
        """What was asked for of files, in order."""
        with self._changes.changing():
            return [*self._server.downloads]

    def archives(self, channel: str, *, archived: bool = True) -> None:
        """Archive a channel."""
        with self._changes.changing():
            self._state.world.channels[channel].archived = archived

    def invites_bot(self, channel: str) -> None:
        """Let the bot into a conversation."""
        with self._changes.changing():
            self._state.world.channels[channel].members.append(BOT_USER)

    def removes_bot(self, channel: str) -> None:
        """Take the bot out of a conversation."""
        with self._changes.changing():
            self._state.world.channels[channel].members.remove(BOT_USER)

    # ── what people write ────────────────────────────────────────────────────

    def says(
        self,
        user: str,
        channel: str,
        text: str,
        *,
        thread_ts: str | None = None,
        files: Sequence[str] = (),
        attachments: Sequence[Json] = (),
        blocks: Sequence[Json] = (),
        broadcast: bool = False,
        subtype: str | None = None,
        bot_id: str | None = None,
        app_id: str | None = None,
        username: str | None = None,
        team: str | None = None,
        client_msg_id: str | None = None,
    ) -> str:
        """A person writes, or an app, for a `user` or for none. What is returned is the timestamp of the message."""
        with self._changes.changing():
            state = self._state
            room = state.world.channels[channel]
            author = state.world.users[user] if user else User("", username or "", bot_id=bot_id)
            withheld = author.team != TEAM
            kept = [state.world.files[id] for id in files]
            told = [file.withheld() if withheld or file.is_stub else file.as_json(state.url) for file in kept]
            kind = "file_share" if files else "thread_broadcast" if broadcast else subtype
            more = {"thread_ts": thread_ts, "files": told, "subtype": kind, "bot_id": bot_id}
            more |= {"client_msg_id": client_msg_id} if client_msg_id else {}
            more |= {"attachments": [*attachments], "blocks": [*blocks], "app_id": app_id, "username": username}
            return state.said(author, room, text, team=team or author.team, **more).ts

    def edits(self, channel: str, ts: str, text: str) -> None:
        """Whoever wrote a message changes it."""
        with self._changes.changing():
            self._state.rewrite(self._state.message(channel, ts), text)

    def unfurls(self, channel: str, ts: str, attachments: Sequence[Json]) -> None:
        """Slack shows what is behind the links of a message, which the app hears of as if somebody had edited it."""
        with self._changes.changing():
            message = self._state.message(channel, ts)
            before = message.as_json()
            message.attachments = list(attachments)
            self._state.announce_change(message, before)

    def deletes(self, channel: str, ts: str) -> None:
        """Whoever wrote a message takes it away."""
        with self._changes.changing():
            self._state.delete(self._state.message(channel, ts))

    def uninstalls(self) -> None:
        """Somebody removes the app from the workspace: it is told, and may call no more."""
        with self._changes.changing():
            for event in ({"type": "tokens_revoked", "tokens": {"bot": [BOT_USER]}}, {"type": "app_uninstalled"}):
                self._state.tell({**event, "event_ts": self._state.clock.ts()}, None)
            self.refusal = "account_inactive"

    # ── what people press ────────────────────────────────────────────────────

    def opens_messages_tab(self, user: str) -> None:
        """A person opens the app to write to it."""
        self._opens(user, "messages")

    def looks_at(self, user: str, *channels: str) -> None:
        """A person has these channels open beside their direct message with the app, those that matter most first."""
        with self._changes.changing():
            state = self._state
            state.viewed[user] = list(channels)
            told: Json = {"type": "app_context_changed", "user": user, "channel": state.world.dm(user).id}
            state.tell({**told, "context": state.context_of(user), "event_ts": state.clock.ts()}, None)

    def opens_home(self, user: str) -> None:
        """A person opens the home tab of the app."""
        self._opens(user, "home")

    def _opens(self, user: str, tab: str) -> None:
        with self._changes.changing():
            state = self._state
            told: Json = {"type": "app_home_opened", "user": user, "channel": state.world.dm(user).id, "tab": tab}
            if tab == "home" and user in state.views.homes:
                told["view"] = state.views.homes[user]
            state.tell({**told, "event_ts": state.clock.ts()}, None)

    def presses_stop(self, user: str, channel: str, thread_ts: str) -> None:
        """A person presses Stop, which is there while the session is processing."""
        with self._changes.changing():
            if self._state.sessions.get((channel, thread_ts)) != "processing":
                raise ValueError("there is no Stop to press: the session is not processing")
            self._state.stop(user, channel, thread_ts)

    def renames_session(self, user: str, channel: str, thread_ts: str, title: str) -> None:
        """A person gives a session another title."""
        with self._changes.changing():
            state = self._state
            state.session_titles[channel, thread_ts] = title
            told = {"channel": channel, "thread_ts": thread_ts, "user": user, "title": title}
            event = {"type": "agent_session_title_changed", **told, "event_ts": state.clock.ts()}
            state.tell(event, state.world.channels[channel])

    def slash(self, user: str, channel: str, command: str, text: str = "") -> Interaction:
        """A person types a command. Await it for what the app says."""
        with self._changes.changing():
            state = self._state
            return self._begin(
                events.command(state, state.world.users[user], state.world.channels[channel], command, text)
            )

    def clicks(self, user: str, channel: str, ts: str, action_id: str, value: Any = None) -> Interaction:
        """A person presses a button under a message, or chooses something there."""
        with self._changes.changing():
            return self._begin(events.click(self._state, user, self._visible_to(user, channel, ts), action_id, value))

    def clicks_in_view(self, user: str, view_id: str, action_id: str, value: Any = None) -> Interaction:
        """A person presses a button in a modal or in the home tab, or chooses something there."""
        with self._changes.changing():
            return self._begin(events.click_in_view(self._state, user, view_id, action_id, value))

    def shortcut(self, user: str, channel: str | None, ts: str | None, callback_id: str) -> Interaction:
        """A person chooses a shortcut from the menu of a message, or a global one."""
        with self._changes.changing():
            message = self._visible_to(user, channel, ts) if channel and ts else None
            return self._begin(events.shortcut(self._state, user, message, callback_id))

    def submits(self, user: str, view_id: str, values: dict[str, dict[str, Any]] | None = None) -> Interaction:
        """A person submits a modal. `values` are by block and action: texts, or the values of options."""
        with self._changes.changing():
            return self._begin(events.submission(self._state, user, view_id, values or {}))

    def closes(self, user: str, view_id: str) -> Interaction | None:
        """A person closes a modal. The app hears of it only if it wanted to."""
        with self._changes.changing():
            view = self._state.views.of(user, view_id)
            self._state.views.close(user, view_id)
            if not view["notify_on_close"]:
                return None
            author = self._state.world.users[user]
            return self._begin(events.interaction(self._state, "view_closed", author, view=view, is_cleared=False))

    def _visible_to(self, user: str, channel: str, ts: str) -> Message:
        own = [one for one in self._state.ephemerals if (one.ts, one.ephemeral_to, one.deleted) == (ts, user, False)]
        return own[0] if own else self._state.message(channel, ts)

    def _begin(self, outgoing: Outgoing) -> Interaction:
        interaction = self._interactions[outgoing] = Interaction(self._changes, self._state, outgoing)
        self._state.publish(outgoing)
        return interaction

    # ── what a test looks at ─────────────────────────────────────────────────

    @property
    def calls(self) -> list[Call]:
        """Every call of the Web API so far."""
        return list(self._server.calls)

    @property
    def deliveries(self) -> list[Delivery]:
        """Every attempt so far to deliver something."""
        return list(self._deliveries.done)

    @property
    def rate_limited(self) -> int:
        """How many calls were answered with 429."""
        return self._server.limits.refused

    @property
    def impatience(self) -> list[str]:
        """Who called again before the time that a 429 named."""
        return list(self._server.limits.impatience)

    @property
    def crashes(self) -> list[Exception]:
        """What went wrong in the fake itself."""
        return list(self._server.crashes)

    def messages(self, channel: str, thread_ts: str | None = None) -> list[Message]:
        """The messages of a conversation, or of a thread with its root."""
        with self._changes.reading():
            if thread_ts:
                return self._state.in_thread(channel, thread_ts)
            return [one for one in self._state.messages.get(channel, {}).values() if not one.deleted]

    def message(self, channel: str, ts: str) -> Message:
        """One message, even if it was deleted."""
        with self._changes.reading():
            return self._state.messages[channel][ts]

    def bot_messages(self, channel: str, thread_ts: str) -> list[Message]:
        """What the bot wrote in a thread."""
        return [one for one in self.messages(channel, thread_ts) if one.by_bot]

    def replies(self, channel: str, thread_ts: str) -> list[str]:
        """What a person reads of what the bot wrote in a thread."""
        return [one.visible for one in self.bot_messages(channel, thread_ts) if one.visible or not one.files]

    def files_in(self, channel: str, thread_ts: str) -> list[tuple[str, bytes]]:
        """The files that the bot shows in a thread: their names, and what is in them."""
        shown = [each["id"] for one in self.bot_messages(channel, thread_ts) for each in one.files]
        with self._changes.reading():
            files = [self._state.world.files[id] for id in shown]
            return [(file.name, file.content) for file in files if not file.is_deleted]

    @property
    def previewed(self) -> list[str]:
        """What the bot has posted without switching off previews of its links, where a call can do so."""
        with self._changes.reading():
            return [message.visible for message in self._state.previewed]

    def ephemerals(self, channel: str, user: str) -> list[Message]:
        """What this person alone sees in a conversation."""
        with self._changes.reading():
            return [
                m for m in self._state.ephemerals if (m.channel, m.ephemeral_to, m.deleted) == (channel, user, False)
            ]

    def open_views(self, user: str) -> list[Json]:
        """The modals that a person has open, the topmost last."""
        with self._changes.reading():
            return list(self._state.views.open.get(user, []))

    @property
    def homes(self) -> dict[str, Json]:
        """The home tab of each person who has one."""
        with self._changes.reading():
            return dict(self._state.views.homes)

    @property
    def sessions(self) -> dict[tuple[str, str], str]:
        """The status of each agent session, by channel and thread."""
        with self._changes.reading():
            return dict(self._state.sessions)

    @property
    def session_titles(self) -> dict[tuple[str, str], str]:
        """The titles of agent sessions, by channel and thread."""
        with self._changes.reading():
            return dict(self._state.session_titles)

    def session_history(self, channel: str, thread_ts: str) -> list[str]:
        """Every status that a session had, in order."""
        with self._changes.reading():
            return [status for _, place, status in self._state.session_history if place == (channel, thread_ts)]

    @property
    def statuses(self) -> dict[tuple[str, str], str]:
        """What `assistant.threads.setStatus` shows now, by channel and thread."""
        with self._changes.reading():
            self._state.tick()
            return {place: status.text for place, status in self._state.statuses.items()}

    def status_history(self, channel: str, thread_ts: str) -> list[str]:
        """Everything that it showed, in order; "" where it was taken away."""
        with self._changes.reading():
            return [text for _, place, text in self._state.status_history if place == (channel, thread_ts)]

    @property
    def thread_titles(self) -> dict[tuple[str, str], str]:
        """What `assistant.threads.setTitle` set."""
        with self._changes.reading():
            return dict(self._state.thread_titles)

    @property
    def prompts(self) -> dict[tuple[str, str], list[Json]]:
        """Suggested prompts, by channel and thread ("": the messages tab)."""
        with self._changes.reading():
            return dict(self._state.prompts)

    @property
    def sockets(self) -> int:
        """How many sockets are open."""
        return len(self._deliveries.sockets)

    @property
    def live_streams(self) -> list[Message]:
        """What is being streamed now."""
        with self._changes.reading():
            return self._state.live_streams()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be delivered, now or later, and nothing is being streamed."""
        return not self._deliveries.errands and not self.live_streams

    # ── waiting ──────────────────────────────────────────────────────────────

    def wait_for(self, predicate: "Callable[[FakeSlack], Any]", seconds: float = SECONDS) -> None:
        """Block this thread until something is true of the fake."""
        self._changes.wait_for(lambda: predicate(self), seconds)

    @property
    def changes(self) -> int:
        """How often anything was changed here."""
        return self._changes.number

    async def until(self, predicate: "Callable[[FakeSlack], Any]", seconds: float = SECONDS) -> None:
        """Wait until something is true of the fake."""
        await self._changes.until(lambda: predicate(self), seconds)

    async def idle(self, seconds: float = SECONDS) -> None:
        """Wait until everything is delivered and nothing is being streamed. An app may work on nevertheless."""
        await self.until(lambda slack: slack.is_idle, seconds)

    def _described(self) -> str:
        calls = ", ".join(call.method + (f" ({call.error})" if call.error else "") for call in self.calls[-8:])
        late = ", ".join(f"{one.type} {one.failure}" for one in self.deliveries[-8:] if one.failure)
        pending = len(self._deliveries.errands)
        return f"It did not come true: {pending} to deliver, failed: [{late}], the last calls were [{calls}]"

    # ── what a test steers ───────────────────────────────────────────────────

    def fail(
        self,
        method: str,
        error: str | None = None,
        *,
        status: int | None = None,
        retry_after: float = 1,
        times: int | None = 1,
        delay: float = 0,
        after: bool = False,
        drop: bool = False,
        when: Callable[[Json], bool] | None = None,
    ) -> Fault:
        """Let the next calls of a method ("*": of any) go wrong: `times` of them (None: all), or those `when` chooses.

        `after`: the work is done all the same. `drop`: the connection is closed without an answer. A `delay` alone
        only makes it slow. "ratelimited" is a 429, and a 429 is "ratelimited".
        """
        if status is not None and error is None and not drop:
            error = {429: "ratelimited"}.get(status, "internal_error")
        if after and error is None and not drop:
            error, status = "internal_error", 500
        if error is None and not drop and not delay:
            raise ValueError("say what goes wrong")
        status = status or (429 if error == "ratelimited" else 200)
        with self._changes.changing():
            fault = Fault(method, error, status, retry_after, times, delay, after, drop, when)
            return self._server.script.add(fault)

    def enforce_tiers(self, scale: float = 1.0) -> None:
        """Refuse calls that come more often than Slack takes them. `scale` shortens the minute they are counted in."""
        self.tiers = {method: (most, seconds * scale) for method, (most, seconds) in TIERS.items()}

    def refresh_sockets(self) -> None:
        """Tell every socket to connect anew, and close it a moment later."""
        self._server.run_soon(lambda: self._deliveries.spawn(self._deliveries.refresh()))

    def drop_sockets(self) -> None:
        """Cut every socket without a word."""
        self._server.run_soon(self._deliveries.drop)

    def deliver_again(self, ts: str, type: str | None = None) -> None:
        """Deliver the events of a message once more, with the ids that they had."""
        with self._changes.changing():
            known: dict[str, Outgoing] = {}
            for one in self._deliveries.done:
                if one.ts == ts and one.event_id and type in (None, one.type):
                    outgoing = Outgoing("events_api", one.type, one.payload, one.event_id, one.channel, one.ts)
                    known.setdefault(one.event_id, outgoing)
            for outgoing in known.values():
                self._publish(outgoing)

    def gives_again(self, given: Interaction) -> Interaction:
        """Deliver a command once more, with the trigger that it had. Await it for what the app says to that."""
        with self._changes.changing():
            return self._begin(Outgoing("slash_commands", given.payload["command"], given.payload))

    def tell_app(self, event: Json) -> None:
        """Deliver an event of any shape, in an envelope of the usual one."""
        with self._changes.changing():
            channel = self._state.world.channels.get(str(event.get("channel")))
            self._state.publish(events.outgoing_event(self._state, event, channel))

    def signed_headers(self, body: bytes, *, at: float | None = None) -> dict[str, str]:
        """The headers with which Slack would sign a body, at this time or another."""
        return self._deliveries.headers(body, at)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A fake of Slack.")
    parser.add_argument("--port", type=int, default=8766)
    parser.add_argument("--events-url", help="where to deliver events; without it, over sockets")
    given = parser.parse_args()
    slack = FakeSlack()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    slack.start(given.port)
    slack.deliver_to(given.events_url)
    print(f"ready {slack.url}", flush=True)
    stop.wait()
    slack.stop()
    for verdict in [*slack.violations, *slack.crashes]:
        print(verdict, flush=True)


if __name__ == "__main__":
    main()
