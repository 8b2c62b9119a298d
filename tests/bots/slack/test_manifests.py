"""The manifests that people paste into Slack: accepted there, and asking for what Bob uses and for nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

import bots.slack
from bots.slack.commands import HELP, SUGGESTED_PROMPTS, SlackCommands
from core import Json

FOLDER = Path(bots.slack.__file__).parent
FULL: Json = json.loads((FOLDER / "manifest.json").read_text())
MENTION_ONLY: Json = json.loads((FOLDER / "manifest_mention_only.json").read_text())
SOURCES = "".join(path.read_text() for path in sorted(FOLDER.glob("*.py")))

both = pytest.mark.parametrize("manifest", [FULL, MENTION_ONLY], ids=["full", "mention only"])

# ── what Slack accepts, as github.com/slackapi/manifest-schema and docs.slack.dev/reference/app-manifest say it ──────

YES_NO: Json = {"type": "boolean"}


def text(most: int, **more: Any) -> Json:
    return {"type": "string", "minLength": 1, "maxLength": most, **more}


def things(most: int, **properties: Json) -> Json:
    return {"type": "array", "minItems": 1, "maxItems": most, "items": group(**properties)}


def group(*optional: str, **properties: Json) -> Json:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def names(most: int) -> Json:
    return {"type": "array", "uniqueItems": True, "maxItems": most, "items": text(50)}


SCHEMA = group(
    display_information=group(
        "background_color",
        name=text(35),
        description=text(140),
        background_color={"type": "string", "pattern": "^#([0-9a-f]{3}){1,2}$"},
    ),
    features=group(
        agent_view=group(
            agent_description=text(300),
            suggested_prompts=things(4, title=text(75), message=text(2_000)),
        ),
        app_home=group(
            home_tab_enabled=YES_NO,
            messages_tab_enabled={"const": True},
            messages_tab_read_only_enabled={"const": False},
        ),
        bot_user=group(display_name=text(80), always_online=YES_NO),
        slash_commands=things(
            50,
            command=text(32, pattern="^/[a-z0-9_-]+$"),
            description=text(2_000),
            usage_hint=text(1_000),
            should_escape=YES_NO,
        ),
        shortcuts=things(
            10,
            name=text(24),
            type={"enum": ["message", "global"]},
            callback_id=text(255),
            description=text(150),
        ),
    ),
    oauth_config=group(scopes=group(bot=names(255))),
    settings=group(
        event_subscriptions=group(bot_events=names(100)),
        interactivity=group(is_enabled={"const": True}),
        org_deploy_enabled=YES_NO,
        socket_mode_enabled=YES_NO,
        token_rotation_enabled={"const": False},
    ),
)

# ── what needs which scope; where there are several, any of them is enough ───────────────────────────────────────────

HISTORY = ("channels:history", "groups:history", "im:history", "mpim:history")

EVENTS: dict[str, tuple[str, ...]] = {
    "agent_session_stopped": ("assistant:write",),
    "app_context_changed": (),  # of apps that are agents
    "app_home_opened": (),
    "app_mention": ("app_mentions:read",),
    "message.channels": ("channels:history",),
    "message.groups": ("groups:history",),
    "message.im": ("im:history",),
    "message.mpim": ("mpim:history",),
}

METHODS: dict[str, tuple[str, ...]] = {
    "agents.sessions.rename": ("chat:write",),
    "agents.sessions.setStatus": ("chat:write",),
    "apps.connections.open": (),  # with the app's own token
    "assistant.threads.setStatus": ("chat:write",),
    "assistant.threads.setSuggestedPrompts": ("assistant:write",),
    "auth.test": (),
    "bots.info": ("users:read",),
    "chat.appendStream": ("chat:write",),
    "chat.delete": ("chat:write",),
    "chat.postEphemeral": ("chat:write",),
    "chat.postMessage": ("chat:write",),
    "chat.startStream": ("chat:write",),
    "chat.stopStream": ("chat:write",),
    "chat.update": ("chat:write",),
    "conversations.history": HISTORY,
    "conversations.info": ("channels:read", "groups:read"),
    "conversations.replies": HISTORY,
    "files.completeUploadExternal": ("files:write",),
    "files.delete": ("files:write",),
    "files.getUploadURLExternal": ("files:write",),
    "files.info": ("files:read",),
    "usergroups.list": ("usergroups:read",),
    "usergroups.users.list": ("usergroups:read",),
    "users.info": ("users:read",),
    "views.open": (),
}

FEATURES: dict[str, tuple[str, ...]] = {
    "agent_view": ("assistant:write",),
    "bot_user": (),
    "app_home": (),
    "shortcuts": ("commands",),
    "slash_commands": ("commands",),
}


def methods_called() -> set[str]:
    """The methods of Slack's Web API that the bot calls, by their names or by the SDK's."""
    by_name = re.findall(r'"(?!slack\.)([a-z]+(?:\.[a-z]+)*\.(?!json)[a-zA-Z]+)"', SOURCES)  # no check, no file
    by_method = re.findall(r"client\.([a-z]+(?:_[a-zA-Z]+)+)\(", SOURCES)
    return {*by_name, *(name.replace("_", ".") for name in by_method)}


def scopes_of(manifest: Json) -> list[str]:
    found: list[str] = manifest["oauth_config"]["scopes"]["bot"]
    return found


def events_of(manifest: Json) -> list[str]:
    found: list[str] = manifest["settings"]["event_subscriptions"]["bot_events"]
    return found


class Listening:
    """An app that only remembers what is listened to."""

    def __init__(self) -> None:
        self.heard: dict[str, list[Any]] = {}

    def __getattr__(self, kind: str) -> Any:
        def listen(what: Any) -> Any:
            self.heard.setdefault(kind, []).append(what)
            return lambda listener: listener

        return listen


@pytest.fixture
def listening() -> Listening:
    app: Any = Listening()
    nothing: Any = None
    SlackCommands(nothing, nothing, nothing, nothing, nothing, nothing, nothing).register(app)
    assert isinstance(app, Listening)
    return app


@both
def test_slack_accepts_the_manifest(manifest: Json) -> None:
    problems = [f"{problem.json_path}: {problem.message}" for problem in Draft7Validator(SCHEMA).iter_errors(manifest)]
    assert problems == []


@both
def test_bob_is_an_agent_and_not_an_assistant_of_the_old_kind(manifest: Json) -> None:
    assert "agent_view" in manifest["features"]
    assert "assistant_view" not in manifest["features"]
    assert not any(event.startswith("assistant_thread") for event in events_of(manifest))


@both
def test_every_event_has_its_scope(manifest: Json) -> None:
    for event in events_of(manifest):
        assert set(EVENTS[event]) <= set(scopes_of(manifest)), event


def test_the_methods_that_are_called_are_found() -> None:
    assert {"chat.postMessage", "chat.startStream", "users.info", "views.open", "auth.test"} <= methods_called()
    assert methods_called() == set(METHODS)


@both
@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_that_is_called_has_its_scope(manifest: Json, method: str) -> None:
    assert not METHODS[method] or set(METHODS[method]) & set(scopes_of(manifest))


@both
def test_every_feature_has_its_scope(manifest: Json) -> None:
    for feature in manifest["features"]:
        assert set(FEATURES[feature]) <= set(scopes_of(manifest)), feature


@both
def test_no_scope_is_asked_for_that_nothing_needs(manifest: Json) -> None:
    needed = [EVENTS[event] for event in events_of(manifest)] + [FEATURES[each] for each in manifest["features"]]
    needed += [scopes for method, scopes in METHODS.items() if scopes != HISTORY]
    assert set(scopes_of(manifest)) == {scope for scopes in needed for scope in scopes}


@both
def test_scopes_and_events_are_listed_once_and_in_order(manifest: Json) -> None:
    assert scopes_of(manifest) == sorted(set(scopes_of(manifest)))
    assert events_of(manifest) == sorted(set(events_of(manifest)))


@both
def test_every_event_is_listened_to(manifest: Json) -> None:
    for event in events_of(manifest):
        assert f'"{event.partition(".")[0]}"' in SOURCES, event


def test_a_bot_that_hears_only_mentions_sees_no_other_message_of_a_channel() -> None:
    channels = {"channels:history", "groups:history", "mpim:history"}
    assert not channels & set(scopes_of(MENTION_ONLY))
    assert [event for event in events_of(MENTION_ONLY) if event.startswith("message.")] == ["message.im"]
    assert "app_mention" in events_of(MENTION_ONLY)


def test_the_manifests_are_the_same_but_for_the_messages_of_channels() -> None:
    assert set(scopes_of(FULL)) - set(scopes_of(MENTION_ONLY)) == {"channels:history", "groups:history", "mpim:history"}
    more = {"message.channels", "message.groups", "message.mpim"}
    assert set(events_of(FULL)) - set(events_of(MENTION_ONLY)) == more
    rest = json.loads(json.dumps(MENTION_ONLY))
    rest["oauth_config"]["scopes"]["bot"] = scopes_of(FULL)
    rest["settings"]["event_subscriptions"]["bot_events"] = events_of(FULL)
    assert rest == FULL


@both
def test_the_shortcuts_are_those_that_are_listened_to(manifest: Json, listening: Listening) -> None:
    assert [shortcut["callback_id"] for shortcut in manifest["features"]["shortcuts"]] == listening.heard["shortcut"]


@both
def test_the_slash_command_is_listened_to_and_explained(manifest: Json, listening: Listening) -> None:
    for each in manifest["features"]["slash_commands"]:
        assert any(re.compile(heard).search(each["command"]) for heard in listening.heard["command"])
        hinted = [hint.split()[0] for hint in each["usage_hint"].split("|")]
        assert "help" in hinted
        for word in hinted:
            assert word == "help" or f"{each['command']} {word}" in HELP


def test_every_window_that_is_opened_is_listened_to(listening: Listening) -> None:
    assert sorted(listening.heard["view"]) == sorted(set(re.findall(r'callback_id="([a-z_]+)"', SOURCES)))


@both
def test_the_first_sight_of_a_direct_message_suggests_the_same_everywhere(manifest: Json) -> None:
    prompts = [{"title": title, "message": message} for title, message in SUGGESTED_PROMPTS]
    assert manifest["features"]["agent_view"]["suggested_prompts"] == prompts


@both
def test_what_the_features_rely_on_is_switched_on(manifest: Json) -> None:
    settings = manifest["settings"]
    assert settings["interactivity"]["is_enabled"], "buttons, windows and shortcuts"
    assert settings["socket_mode_enabled"], "there is no address that Slack could deliver to"
    assert manifest["features"]["app_home"]["messages_tab_enabled"], "direct messages"


def test_both_manifests_are_shipped() -> None:
    shipped = {path.name for path in FOLDER.glob("*.json")}
    assert shipped == {"manifest.json", "manifest_mention_only.json"}
