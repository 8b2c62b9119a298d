"""What people do on the fake Discord."""

from collections.abc import Sequence
from typing import Any

from tests.fakes.discord_content import File
from tests.fakes.discord_errors import Json
from tests.fakes.discord_interactions import Interaction, Interactions, Modal
from tests.fakes.discord_messages import FORWARD, Message
from tests.fakes.discord_state import State, reference_to
from tests.fakes.discord_world import Channel, Ref, User
from tests.fakes.slack_changes import Changes


class People:
    """Those who use the fake."""

    _state: State
    _changes: Changes
    _interactions: Interactions

    # ── writing ──────────────────────────────────────────────────────────────

    def says(
        self,
        user: Ref,
        channel: Ref,
        text: str = "",
        *,
        reply_to: int | None = None,
        ping: bool = True,
        attachments: Sequence[File] = (),
        embeds: Sequence[Json] = (),
        ago: float = 0.0,
        told: bool = True,
    ) -> int:
        """Somebody writes. What is returned is the id of the message.

        `ping`: whether a reply notifies whom it replies to. `ago`: how many seconds ago it was written. Not `told`:
        the gateway loses it, and it is only in the history.
        """
        with self._changes.changing():
            author, place = self._writer(user, channel)
            message = self._state.says(author, place, text, files=attachments, embeds=list(embeds), ago=ago)
            if reply_to is None:
                self._state.call(message, None, "send")
            else:
                self._state.reply(message, self._state.message(place, reply_to), ping=ping)
            return self._state.post(message, told=told).id

    def _writer(self, user: Ref, channel: Ref) -> tuple[User, Channel]:
        """Who writes, and where. Webhooks write everywhere, others where they may."""
        author, place = self._state.world.user(user), self._place(user, channel)
        needed = "send_messages_in_threads" if place.thread else "send_messages"
        if not author.is_webhook and not self._state.world.may(author, place, needed):
            raise ValueError(f"{author.name} cannot write in {place.name or 'that direct message'}")
        if place.thread and place.thread.locked and not self._state.world.may(author, place, "manage_threads"):
            raise ValueError("the thread is locked")
        return author, place

    def _place(self, user: Ref, channel: Ref) -> Channel:
        if channel == "dm":
            return self._state.world.dm(self._state.world.user(user))
        return self._state.world.channel(channel)

    def dm(self, user: Ref) -> int:
        """The direct message of a person with the bot."""
        with self._changes.changing():
            return self._state.world.dm(self._state.world.user(user)).id

    def edits(self, message: int, text: str) -> None:
        """Whoever wrote a message changes it."""
        with self._changes.changing():
            self._state.rewrite(self._there(message), text)

    def deletes(self, message: int) -> None:
        """Whoever wrote a message takes it away, or a moderator does."""
        with self._changes.changing():
            self._state.delete(self._there(message))

    def forwards(self, user: Ref, channel: Ref, message: int) -> int:
        """Somebody forwards a message."""
        with self._changes.changing():
            author, place = self._writer(user, channel)
            forwarded = self._there(message)
            reference = {**reference_to(forwarded), "type": FORWARD}
            made = self._state.says(author, place, "", reference=reference, refers_to=forwarded)
            made.snapshots = [forwarded.snapshot(self._state.url)]
            return self._state.post(made).id

    def unfurls(self, message: int, title: str = "A page") -> None:
        """Discord shows what is behind a link in a message. That is an update, and no edit."""
        with self._changes.changing():
            there = self._there(message)
            there.embeds = [*there.embeds, {"type": "link", "title": title, "url": "https://example.com/"}]
            self._state.changed(there)

    def reacts(self, user: Ref, message: int, emoji: str) -> None:
        """Somebody adds a reaction."""
        with self._changes.changing():
            self._state.react(self._state.world.user(user), self._there(message), emoji, add=True)

    def unreacts(self, user: Ref, message: int, emoji: str) -> None:
        """Somebody takes a reaction away."""
        with self._changes.changing():
            self._state.react(self._state.world.user(user), self._there(message), emoji, add=False)

    def types(self, user: Ref, channel: Ref) -> None:
        """Somebody begins to write."""
        with self._changes.changing():
            self._state.type_in(self._state.world.user(user), self._place(user, channel))

    def _there(self, message: int) -> Message:
        found = self._state.messages[message]
        return self._state.message(found.channel, message)

    # ── threads ──────────────────────────────────────────────────────────────

    def opens_thread(self, user: Ref, on: Ref, name: str = "a thread") -> int:
        """Somebody opens a thread, on a message or in a channel. What is returned is its id."""
        with self._changes.changing():
            owner = self._state.world.user(user)
            message = self._state.messages.get(on) if isinstance(on, int) else None
            parent = message.channel if message else self._state.world.channel(on)
            return self._state.open_thread(owner, parent, name, message=message).id

    def posts(self, user: Ref, forum: Ref, title: str, text: str, *, attachments: Sequence[File] = ()) -> int:
        """Somebody posts in a forum. What is returned is the id of the thread, and of its first message."""
        with self._changes.changing():
            author, place = self._state.world.user(user), self._state.world.channel(forum)
            first = self._state.says(author, place, text, files=attachments)
            self._state.call(first, None, "send")
            return self._state.forum_post(author, place, title, first).id

    def archives(self, thread: int, *, archived: bool = True) -> None:
        """A thread is archived, or not any more."""
        with self._changes.changing():
            self._state.set_thread(self._state.world.channel(thread), archived=archived)

    def locks(self, thread: int, *, locked: bool = True) -> None:
        """A moderator locks a thread, or unlocks it."""
        with self._changes.changing():
            self._state.set_thread(self._state.world.channel(thread), locked=locked)

    def deletes_channel(self, channel: Ref) -> None:
        """A moderator deletes a channel, or a thread."""
        with self._changes.changing():
            self._state.delete_channel(self._state.world.channel(channel))

    # ── using the app ────────────────────────────────────────────────────────

    def slash(self, user: Ref, channel: Ref, command: str, /, **options: Any) -> Interaction:
        """Somebody uses a slash command ("ask", or "group ask"). Await it for what the app does."""
        with self._changes.changing():
            person = self._state.world.user(user)
            return self._interactions.slash(person, self._place(user, channel), command, options)

    def autocompletes(self, user: Ref, channel: Ref, command: str, focused: str, /, **options: Any) -> Interaction:
        """Somebody types into an option of a slash command."""
        with self._changes.changing():
            person, place = self._state.world.user(user), self._place(user, channel)
            return self._interactions.autocompletion(person, place, command, focused, options)

    def context_menu(self, user: Ref, message: int, command: str) -> Interaction:
        """Somebody chooses a command from the menu of a message."""
        with self._changes.changing():
            return self._interactions.context_menu(self._state.world.user(user), self._there(message), command)

    def clicks(self, user: Ref, message: int, custom_id: str, values: Sequence[str] | None = None) -> Interaction:
        """Somebody presses a button in a message, or chooses something there."""
        with self._changes.changing():
            chosen = None if values is None else list(values)
            return self._interactions.click(self._state.world.user(user), self._there(message), custom_id, chosen)

    def submits(self, user: Ref, modal: Modal | Interaction, values: dict[str, str]) -> Interaction:
        """Somebody submits the modal that an interaction showed. `values` are by the ids of the fields."""
        with self._changes.changing():
            shown = modal.modal if isinstance(modal, Interaction) else modal
            if shown is None:
                raise ValueError("no modal was shown")
            return self._interactions.submit(self._state.world.user(user), shown, values)
