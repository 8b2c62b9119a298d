"""The manifests that lie beside the bot: what an app of Slack's is to be, and which scopes it needs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from bots.slack.settings import PATH
from core import Json

FOLDER = Path(__file__).parent
NAME = "slack-manifest.json"


@functools.cache
def _manifest(name: str) -> Json:
    manifest: Json = json.loads((FOLDER / name).read_text(encoding="utf-8"))
    return manifest


def scopes_of(name: str) -> frozenset[str]:
    """The scopes that a manifest asks for."""
    return frozenset(_manifest(name)["oauth_config"]["scopes"]["bot"])


def lacking(granted: frozenset[str]) -> frozenset[str]:
    """The scopes that an app lacks, by the manifest that comes nearest to what was granted to it."""
    least, all_ = scopes_of("manifest_mention_only.json"), scopes_of("manifest.json")
    return (all_ if granted & (all_ - least) else least) - granted


def is_delivered_to(public_url: str) -> bool:
    """Whether Slack delivers to a Bob at this address, which has to be https; else he connects to it (Socket Mode)."""
    return public_url.startswith("https://")


def manifest_for(public_url: str) -> Mapping[str, str]:
    """A file with the manifest for a Bob at this https address; with Socket Mode, where he has none."""
    manifest = json.loads(json.dumps(_manifest("manifest.json")))
    if is_delivered_to(public_url):
        url = f"{public_url.rstrip('/')}{PATH}"
        manifest["settings"]["socket_mode_enabled"] = False
        manifest["settings"]["event_subscriptions"]["request_url"] = url
        manifest["settings"]["interactivity"]["request_url"] = url
        for command in manifest["features"]["slash_commands"]:
            command["url"] = url
    return {NAME: json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"}
