"""What people do with the app on the fake Discord: commands, clicks and modals, and what becomes of them."""

import secrets
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from tests.fakes import discord_commands as commands
from tests.fakes import discord_content as contents
from tests.fakes.discord_errors import Json
from tests.fakes.discord_messages import Message
from tests.fakes.discord_state import Event, State
from tests.fakes.discord_world import APPLICATION, Channel, User
from tests.fakes.slack_changes import Changes

COMMAND, COMPONENT, AUTOCOMPLETE, MODAL_SUBMIT = 2, 3, 4, 5
PONG, MESSAGE, DEFERRED, DEFERRED_UPDATE, UPDATE, CHOICES, MODAL = 1, 4, 5, 6, 7, 8, 9
LATE = "The application did not respond"
SECONDS = 30.0


class Modal:
    """A form that the app shows to a person."""

    def __init__(self, interaction: "Interaction", data: Json) -> None:
        self.interaction = interaction
        self.custom_id: str = data["custom_id"]
        self.title: str = data["title"]
        self.components: list[Json] = contents.numbered(data["components"])

    @property
    def fields(self) -> dict[str, Json]:
        """What a person can fill in, by id."""
        return {one["custom_id"]: one for one in contents.walk(self.components) if one.get("custom_id")}

    def filled(self, values: dict[str, str]) -> list[Json]:
        """The components as an interaction tells them."""
        unknown = set(values) - set(self.fields)
        if unknown:
            raise ValueError(f"there is no {unknown} to fill in, but {list(self.fields)}")
        return [_filled(one, values) for one in self.components if one["type"] != contents.TEXT_DISPLAY]


def _filled(component: Json, values: dict[str, str]) -> Json:
    told = {"type": component["type"], "id": component["id"]}
    if "components" in component:
        return {**told, "components": [_filled(one, values) for one in component["components"]]}
    if "component" in component:
        return {**told, "component": _filled(component["component"], values)}
    value = values.get(component["custom_id"], component.get("value") or "")
    told["custom_id"] = component["custom_id"]
    if component["type"] != contents.TEXT_INPUT:
        return {**told, "values": list(value)}
    if not value and component.get("required", True):
        raise ValueError(f"{component['custom_id']!r} must be filled in")
    if value and not component.get("min_length", 0) <= len(value) <= component.get("max_length", 4000):
        raise ValueError(f"{component['custom_id']!r} may not be {len(value)} characters long")
    return {**told, "value": value}


class Interaction:
    """Something that a person did and that the app answers. Await it until the app has done so, or has not in time."""

    def __init__(self, changes: Changes, id: int, kind: int, user: User, channel: Channel) -> None:
        self.id = id
        self.token = secrets.token_urlsafe(48)
        self.kind = kind
        self.user = user
        self.channel = channel
        self.payload: Json = {}
        self.message: Message | None = None
        """What was clicked."""
        self.source: Interaction | None = None
        """What the modal was shown in answer to."""
        self.answer: int | None = None
        """The type of the first response."""
        self.failure: str | None = None
        """What the person reads because the app did not answer in time."""
        self.acked_after: float | None = None
        self.original: Message | None = None
        """The response itself: a new message, or the one that was clicked."""
        self.followups: list[Message] = []
        self.modal: Modal | None = None
        self.choices: list[Json] = []
        """What an autocompletion offers."""
        self.for_person_only = False
        """Whether the app is installed for the person, and not where this happens."""
        self.began_at = time.monotonic()
        self._changes = changes

    @property
    def acknowledged(self) -> bool:
        """Whether the app answered in time."""
        return self.answer is not None

    @property
    def done(self) -> bool:
        """Whether the app has answered, or too much time has passed."""
        return self.acknowledged or self.failure is not None

    @property
    def deferred(self) -> bool:
        """Whether the app asked for time."""
        return self.answer in (DEFERRED, DEFERRED_UPDATE)

    @property
    def thinking(self) -> bool:
        """Whether the person reads that the app is thinking."""
        return self.original is not None and self.original.is_loading and not self.original.deleted

    @property
    def ephemeral(self) -> bool:
        """Whether the person alone sees the response."""
        return self.original is not None and self.original.is_ephemeral

    @property
    def messages(self) -> list[Message]:
        """The messages that are the answer, in order."""
        first = [self.original] if self.original is not None and self.original is not self.message else []
        return [one for one in [*first, *self.followups] if not one.deleted]

    @property
    def texts(self) -> list[str]:
        """What the person reads, message by message."""
        return [one.text for one in self.messages if not one.is_loading]

    @property
    def text(self) -> str:
        """What the person reads."""
        return "\n".join(self.texts)

    def __await__(self) -> Generator[Any, None, "Interaction"]:
        yield from self._changes.until(lambda: self.done, SECONDS).__await__()
        return self

    def wait(self, seconds: float = SECONDS) -> "Interaction":
        """Block this thread until the app has answered."""
        self._changes.wait_for(lambda: self.done, seconds)
        return self

    @property
    def metadata(self) -> Json:
        """What a message tells of the interaction that it answers."""
        names = ("id", "type", "authorizing_integration_owners")
        told = {name: self.payload[name] for name in names} | {"user": self.user.as_json()}
        if self.message is not None:
            told["interacted_message_id"] = str(self.message.id)
        if self.source is not None:
            told["triggering_interaction_metadata"] = self.source.metadata
            told.pop("interacted_message_id", None)
        return told


class Interactions:
    """All of them, and how they begin."""

    def __init__(self, state: State, changes: Changes) -> None:
        self.all: dict[int, Interaction] = {}
        self.seconds = 3.0
        """In which an app must answer."""
        self.token_seconds = 900.0
        """In which it may change its answer, or say more."""
        self._state = state
        self._changes = changes

    def slash(self, user: User, channel: Channel, name: str, values: Json) -> Interaction:
        """A person uses a slash command."""
        return self._command(COMMAND, user, channel, name, values, None)

    def autocompletion(self, user: User, channel: Channel, name: str, focused: str, values: Json) -> Interaction:
        """A person types into an option of a slash command."""
        return self._command(AUTOCOMPLETE, user, channel, name, values, focused)

    def _command(
        self, kind: int, user: User, channel: Channel, name: str, values: Json, focused: str | None
    ) -> Interaction:
        first, *path = name.split()
        command = commands.offered(self._state, user, channel, first, commands.CHAT_INPUT)
        form = commands.Form(self._state, channel)
        options = form.filled(command, path, values, focused)
        data = {**_named(command), "options": options}
        if form.resolved and kind == COMMAND:
            data["resolved"] = form.resolved
        return self._begin(self._new(kind, user, channel), data)

    def context_menu(self, user: User, message: Message, name: str) -> Interaction:
        """A person chooses a command from the menu of a message."""
        command = commands.offered(self._state, user, message.channel, name, commands.MESSAGE_MENU)
        told = message.as_json(self._state.url)
        data = {**_named(command), "target_id": str(message.id), "resolved": {"messages": {str(message.id): told}}}
        return self._begin(self._new(COMMAND, user, message.channel), data)

    def click(self, user: User, message: Message, custom_id: str, values: list[str] | None) -> Interaction:
        """A person presses a button, or chooses something."""
        if message.shown_to not in (None, user.id):
            raise ValueError(f"{user.name} does not see that message")
        component = contents.clickable(message.components, custom_id)
        data = {"id": component["id"], "custom_id": custom_id, "component_type": component["type"]}
        if component["type"] in contents.SELECTS:
            data |= {"values": values or [], "resolved": {}}
        interaction = self._new(COMPONENT, user, message.channel)
        interaction.message = message
        return self._begin(interaction, data)

    def submit(self, user: User, modal: Modal, values: dict[str, str]) -> Interaction:
        """A person submits a modal."""
        if user is not modal.interaction.user:
            raise ValueError(f"{user.name} does not see that modal")
        data = {"custom_id": modal.custom_id, "components": modal.filled(values), "resolved": {}}
        interaction = self._new(MODAL_SUBMIT, user, modal.interaction.channel)
        interaction.source, interaction.message = modal.interaction, modal.interaction.message
        return self._begin(interaction, data)

    def _new(self, kind: int, user: User, channel: Channel) -> Interaction:
        return Interaction(self._changes, self._state.world.clock.snowflake(), kind, user, channel)

    def _begin(self, interaction: Interaction, data: Json) -> Interaction:
        interaction.payload = self._payload(interaction, data)
        interaction.for_person_only = "0" not in interaction.payload["authorizing_integration_owners"]
        self.all[interaction.id] = interaction
        event = Event("INTERACTION_CREATE", lambda _: interaction.payload, 0, interaction.channel.guild, live_only=True)
        self._state.emit(event)
        timer = threading.Timer(self.seconds, self._changed(lambda: self._late(interaction)))
        timer.daemon = True
        timer.start()
        return interaction

    def _changed(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            with self._changes.changing():
                work()

        return run

    def _late(self, interaction: Interaction) -> None:
        if not interaction.acknowledged:
            interaction.failure = LATE

    def _payload(self, interaction: Interaction, data: Json) -> Json:
        state, user, channel = self._state, interaction.user, interaction.channel
        world, guild = state.world, channel.guild
        told = {
            "id": str(interaction.id),
            "application_id": str(APPLICATION),
            "type": interaction.kind,
            "token": interaction.token,
            "version": 1,
            "data": data,
            "channel": {**channel.as_json(), "permissions": str(world.permissions(user, channel))},
            "channel_id": str(channel.id),
            "locale": user.locale,
            "app_permissions": str(world.permissions(world.bot, channel)),
            "entitlements": [],
            "authorizing_integration_owners": commands.owners_of(state, user, channel),
            "context": commands.context_of(state, channel),
            "attachment_size_limit": contents.MOST_FILE_BYTES,
        }
        if interaction.message is not None:
            told["message"] = interaction.message.as_json(state.url)
        if guild is None:
            return {**told, "user": user.as_json()}
        member = {**guild.members[user.id].as_json(), "permissions": str(world.permissions(user, channel))}
        there = {"id": str(guild.id), "locale": guild.locale, "features": []}
        return {**told, "guild_id": str(guild.id), "guild": there, "guild_locale": guild.locale, "member": member}


def _named(command: Json) -> Json:
    told = {name: command[name] for name in ("id", "name", "type")}
    return told | ({"guild_id": command["guild_id"]} if "guild_id" in command else {})
