"""The commands that the app registers on the fake Discord, and what a person fills in to use one."""

import re
from typing import Any

from tests.fakes.discord_content import File
from tests.fakes.discord_errors import DiscordError, Json, invalid_form, too_long
from tests.fakes.discord_rest import Handler, Request
from tests.fakes.discord_state import State
from tests.fakes.discord_world import APPLICATION, Channel, User

CHAT_INPUT, USER_MENU, MESSAGE_MENU = 1, 2, 3
SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
SLASH_NAME = re.compile(r"[-_'\w]{1,32}")
CREATES_PER_DAY = 200
MOST_OF_TYPE = {CHAT_INPUT: 100, USER_MENU: 15, MESSAGE_MENU: 15}
LOCALES = frozenset({
    "ar", "bg", "cs", "da", "de", "el", "en-GB", "en-US", "es-419", "es-ES", "fi", "fr", "he", "hi", "hr", "hu", "id",
    "it", "ja", "ko", "lt", "nl", "no", "pl", "pt-BR", "ro", "ru", "sv-SE", "th", "tr", "uk", "vi", "zh-CN", "zh-TW",
})  # fmt: skip
LOCALIZED = ("name_localizations", "description_localizations")


# ── registering ──────────────────────────────────────────────────────────────


def commands(state: State, request: Request) -> list[Json]:
    """The commands of a server, or those of all; in other languages only if that is asked for."""
    kept = list(_kept(state, request).values())
    return kept if request.query.get("with_localizations") == "true" else [_in_english(one) for one in kept]


def _in_english(command: Json) -> Json:
    told = {name: value for name, value in command.items() if name not in LOCALIZED}
    return told | {name: [_in_english(one) for one in told[name]] for name in ("options", "choices") if told.get(name)}


def replace_all(state: State, request: Request) -> list[Json]:
    """Let these be all commands. Those that are there already keep their ids."""
    if not isinstance(request.body, list):
        raise DiscordError(50035)
    kept = _kept(state, request)
    for type, most in MOST_OF_TYPE.items():
        if sum(_type(one) == type for one in request.body) > most:
            raise too_long("", most)
    made = [_made(state, request, body) for body in request.body]
    kept.clear()
    kept.update({int(one["id"]): one for one in made})
    _note(state, request, "PUT", [str(one["name"]) for one in made])
    return made


def create(state: State, request: Request) -> Json:
    """A command more, or another in the place of one with its name."""
    made = _made(state, request, request.json)
    _kept(state, request)[int(made["id"])] = made
    _note(state, request, "POST", [str(made["name"])])
    return made


def command(state: State, request: Request) -> Json:
    """A command."""
    found = _kept(state, request).get(request.id("command"))
    if found is None:
        raise DiscordError(10063)
    return found


def edit(state: State, request: Request) -> Json:
    """Change a command."""
    before = command(state, request)
    made = {**before, **_checked({**before, **request.json}), "version": str(state.world.clock.snowflake())}
    _kept(state, request)[int(made["id"])] = made
    _note(state, request, "PATCH", [str(made["name"])])
    return made


def delete(state: State, request: Request) -> None:
    """Take a command away."""
    gone = command(state, request)
    del _kept(state, request)[int(gone["id"])]
    _note(state, request, "DELETE", [str(gone["name"])])


def _place(request: Request) -> int | None:
    if request.id("application") != APPLICATION:
        raise DiscordError(10002, blame="the commands of another app")
    return request.id("guild") if "guild" in request.ids else None


def _kept(state: State, request: Request) -> dict[int, Json]:
    place = _place(request)
    if place is not None and (place not in state.world.guilds or not state.world.guilds[place].has_bot):
        raise DiscordError(50001)
    return state.commands.setdefault(place, {})


def _note(state: State, request: Request, how: str, names: list[str]) -> None:
    state.command_history.append((how, _place(request), names))


def _type(body: Json) -> int:
    return int(body.get("type") or CHAT_INPUT)


def _made(state: State, request: Request, body: Json) -> Json:
    _checked(body)
    place, key = _place(request), (_type(body), body["name"])
    known = next((one for one in _kept(state, request).values() if (one["type"], one["name"]) == key), None)
    if known is None:
        state.commands_created[place] = state.commands_created.get(place, 0) + 1
        if state.commands_created[place] > CREATES_PER_DAY:
            raise DiscordError(30034, retry_after=86400.0)
    told = {
        "id": known["id"] if known else str(state.world.clock.snowflake()),
        "application_id": str(APPLICATION),
        "version": str(state.world.clock.snowflake()),
        "type": _type(body),
        "name": body["name"],
        "name_localizations": body.get("name_localizations"),
        "description": body.get("description") or "",
        "description_localizations": body.get("description_localizations"),
        "default_member_permissions": _text(body.get("default_member_permissions")),
        "dm_permission": body.get("dm_permission") is not False,
        "contexts": body.get("contexts"),
        "integration_types": body.get("integration_types") or [0],
        "nsfw": bool(body.get("nsfw")),
    }
    told |= {"options": body["options"]} if body.get("options") else {}
    return told | ({"guild_id": str(place)} if place is not None else {})


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _checked(body: Json) -> Json:
    """The same, or a refusal."""
    name, described = str(body.get("name") or ""), str(body.get("description") or "")
    if _type(body) == CHAT_INPUT:
        if not SLASH_NAME.fullmatch(name) or name != name.lower():
            text = "Command name is invalid"
            raise invalid_form("name", "APPLICATION_COMMAND_INVALID_NAME", text)
        if not 1 <= len(described) <= 100:
            raise invalid_form("description", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 100 in length.")
    elif not 1 <= len(name) <= 32 or described:
        raise invalid_form("description", "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION", "Context menus have none")
    if len(body.get("options") or []) > 25:
        raise too_long("options", 25)
    _check_localizations(body, is_slash=_type(body) == CHAT_INPUT)
    return body


def _check_localizations(body: Json, *, is_slash: bool) -> None:
    """Refuse names and descriptions in languages that there are not, or that could not be those in English either."""
    for locale, name in (body.get("name_localizations") or {}).items():
        is_fit = SLASH_NAME.fullmatch(name) and name == name.lower() if is_slash else 1 <= len(name) <= 32
        if locale not in LOCALES or not is_fit:
            raise invalid_form(f"name_localizations.{locale}", "APPLICATION_COMMAND_INVALID_NAME", "Name is invalid")
    for locale, described in (body.get("description_localizations") or {}).items():
        if locale not in LOCALES or not is_slash or not 1 <= len(described) <= 100:
            text = "Must be between 1 and 100 in length."
            raise invalid_form(f"description_localizations.{locale}", "BASE_TYPE_BAD_LENGTH", text)
    for option in body.get("options") or []:
        _check_localizations(option, is_slash=True)


# ── using one ────────────────────────────────────────────────────────────────


def offered(state: State, user: User, channel: Channel, name: str, type: int) -> Json:
    """The command of this name that a person is offered in a channel."""
    places = [channel.guild.id, None] if channel.guild else [None]
    kept = [one for place in places for one in state.commands.get(place, {}).values()]
    named = [one for one in kept if (one["name"], one["type"]) == (name, type)]
    for one in named:
        if not why_not_offered(state, one, user, channel):
            return one
    why = [why_not_offered(state, one, user, channel) for one in named]
    raise ValueError(f"{user.name} is not offered {name!r} here: {why or [one['name'] for one in kept]}")


def context_of(state: State, channel: Channel) -> int:
    """Where a command is used: in a server, in a direct message with the bot, or in another."""
    if channel.guild is not None:
        return 0
    return 1 if state.world.bot in channel.recipients else 2


def owners_of(state: State, user: User, channel: Channel) -> Json:
    """For whom the app is installed: for the server, for the person."""
    told = {}
    if channel.guild is not None and channel.guild.has_bot:
        told["0"] = str(channel.guild.id)
    elif context_of(state, channel) == 1:
        told["0"] = "0"
    return told | ({"1": str(user.id)} if user.has_installed else {})


def why_not_offered(state: State, command: Json, user: User, channel: Channel) -> str:
    """Why a person does not see a command in a channel. "": they do."""
    context = context_of(state, channel)
    installed = {int(kind) for kind in owners_of(state, user, channel)}
    if not installed & set(command["integration_types"]):
        return "the app is installed neither for the server nor for the person, or not in this way"
    contexts = command["contexts"]
    if contexts is not None and context not in contexts:
        return f"context {context} is not one of {contexts}"
    if contexts is None and context == 1 and not command["dm_permission"]:
        return "not in direct messages"
    return ""


class Form:
    """What a person fills in: the options of a command, and what their ids stand for."""

    def __init__(self, state: State, channel: Channel) -> None:
        self.resolved: dict[str, dict[str, Json]] = {}
        self._state = state
        self._channel = channel

    def filled(self, command: Json, path: list[str], values: Json, focused: str | None = None) -> list[Json]:
        """The options as an interaction tells them. `path`: the names of a group and of a subcommand."""
        declared = command.get("options") or []
        if path:
            inner = next((one for one in declared if one["name"] == path[0]), None)
            if inner is None:
                raise ValueError(f"{command['name']!r} has no {path[0]!r}")
            return [{"type": inner["type"], "name": path[0], "options": self.filled(inner, path[1:], values, focused)}]
        unknown = set(values) - {one["name"] for one in declared}
        missing = {one["name"] for one in declared if one.get("required")} - set(values)
        if unknown or (missing and focused is None):
            raise ValueError(f"{command['name']!r} has no options {unknown} and needs {missing}")
        return [self._option(one, values[one["name"]], focused) for one in declared if one["name"] in values]

    def _option(self, declared: Json, value: Any, focused: str | None) -> Json:
        told = {"type": declared["type"], "name": declared["name"]}
        if declared["name"] == focused:
            return {**told, "value": str(value), "focused": True}
        _check_value(declared, value)
        resolve = {USER: self._user, CHANNEL: self._channel_of, ROLE: self._role, ATTACHMENT: self._file}
        if declared["type"] in resolve:
            return {**told, "value": resolve[declared["type"]](value)}
        return {**told, "value": value}

    def _put(self, kind: str, id: int, told: Json) -> str:
        self.resolved.setdefault(kind, {})[str(id)] = told
        return str(id)

    def _user(self, value: Any) -> str:
        user = self._state.world.user(value)
        member = self._channel.guild.members.get(user.id) if self._channel.guild else None
        if member is not None:
            granted = self._state.world.permissions(user, self._channel)
            self._put("members", user.id, {**member.as_json(user=False), "permissions": str(granted)})
        return self._put("users", user.id, user.as_json())

    def _channel_of(self, value: Any) -> str:
        channel = self._state.world.channel(value)
        return self._put("channels", channel.id, {**channel.as_json(), "permissions": "0"})

    def _role(self, value: Any) -> str:
        assert self._channel.guild is not None
        roles = self._channel.guild.roles.values()
        role = next(one for one in roles if value in (one.id, one.name))
        return self._put("roles", role.id, role.as_json())

    def _file(self, value: File) -> str:
        kept = self._state.kept_file(value, str(self._channel.id))
        return self._put("attachments", kept.id, {**kept.as_json(self._state.url), "ephemeral": True})


def _check_value(declared: Json, value: Any) -> None:
    """Let a person enter only what their client would let them."""
    chosen = [one["value"] for one in declared.get("choices") or []]
    if chosen and value not in chosen:
        raise ValueError(f"{value!r} is not one of {chosen}")
    if isinstance(value, str) and not declared.get("min_length", 0) <= len(value) <= declared.get("max_length", 6000):
        raise ValueError(f"{declared['name']!r} may not be {len(value)} characters long")


_GLOBAL = "/applications/{application}/commands"
_GUILD = "/applications/{application}/guilds/{guild}/commands"
ROUTES: list[tuple[str, str, int, Handler]] = [
    (method, base + below, status, handler)
    for base in (_GLOBAL, _GUILD)
    for method, below, status, handler in (
        ("GET", "", 200, commands),
        ("PUT", "", 200, replace_all),
        ("POST", "", 201, create),
        ("GET", "/{command}", 200, command),
        ("PATCH", "/{command}", 200, edit),
        ("DELETE", "/{command}", 204, delete),
    )
]
