"""Modals and home tabs of the fake Slack: which are open, and what may open one."""

import time
from collections.abc import Callable
from typing import Any

from tests.fakes.slack_blocks import check_view, completed, state_of
from tests.fakes.slack_world import APP, BOT_ID, TEAM, Clock, Json, SlackError

STACK_MOST = 3


class Views:
    """The views that people have open. Each person has one stack of modals, and one home tab."""

    def __init__(self, clock: Clock) -> None:
        self.trigger_seconds = 3.0
        self.open: dict[str, list[Json]] = {}
        self.homes: dict[str, Json] = {}
        self._clock = clock
        self._triggers: dict[str, tuple[str, float]] = {}
        self._exchanged: set[str] = set()

    def trigger(self, user: str) -> str:
        """A trigger id, with which the app may open one modal for this user, soon."""
        id = f"{self._clock.id('1')}.{self._clock.id('2')}.{self._clock.id('a').lower()}"
        self._triggers[id] = (user, time.monotonic() + self.trigger_seconds)
        return id

    def exchange(self, trigger_id: Any) -> str:
        """The user whom a trigger id opens a modal for."""
        if trigger_id in self._exchanged:
            raise SlackError("exchanged_trigger_id", blame="a trigger id was used twice")
        if trigger_id not in self._triggers:
            raise SlackError("invalid_trigger_id", blame="a trigger id that Slack never gave")
        user, until = self._triggers[trigger_id]
        if until < time.monotonic():
            raise SlackError("expired_trigger_id")
        self._exchanged.add(trigger_id)
        return user

    def show(self, user: str, view: Any, *, on_top: bool = False) -> Json:
        """Open a modal: by itself, or on top of what is open."""
        stack = self.open.get(user, []) if on_top else []
        if len(stack) >= STACK_MOST:
            raise SlackError("push_limit_reached")
        shown = self._kept(check_view(view))
        shown |= {"root_view_id": stack[0]["id"] if stack else shown["id"]}
        shown |= {"previous_view_id": stack[-1]["id"] if stack else None}
        self.open[user] = [*stack, shown]
        return shown

    def replace(self, view_id: Any, external_id: Any, view: Any, hash: Any = None) -> Json:
        """Show something else in an open view."""
        old = self.find(lambda one: one["id"] == view_id or (external_id and one["external_id"] == external_id))
        if old is None:
            raise SlackError("not_found")
        if hash and hash != old["hash"]:
            raise SlackError("hash_conflict")
        kept = {name: old[name] for name in ("id", "root_view_id", "previous_view_id")}
        new = self._kept(check_view(view)) | kept
        for stack in self.open.values():
            stack[:] = [new if one is old else one for one in stack]
        return new

    def publish(self, user: str, view: Any, hash: Any = None) -> Json:
        """Replace the home tab of a user."""
        old = self.homes.get(user)
        if hash and (old is None or hash != old["hash"]):
            raise SlackError("hash_conflict")
        if isinstance(view, dict) and view.get("type") == "modal":
            raise SlackError("invalid_arguments", "[ERROR] a home tab is wanted [json-pointer:/view/type]")
        new = self._kept(check_view(view))
        self.homes[user] = new | {"id": old["id"] if old else new["id"]}
        return self.homes[user]

    def find(self, wanted: Callable[[Json], Any]) -> Json | None:
        """An open modal, or a home tab."""
        everything = [*(view for stack in self.open.values() for view in stack), *self.homes.values()]
        return next((view for view in everything if wanted(view)), None)

    def of(self, user: str, view_id: str) -> Json:
        """A view that this user has open."""
        own = [*self.open.get(user, []), *([self.homes[user]] if user in self.homes else [])]
        for view in own:
            if view["id"] == view_id:
                return view
        raise ValueError(f"{user} has no view {view_id} open")

    def filled_in(self, view: Json, values: dict[str, dict[str, Any]]) -> Json:
        """The view as the app is told of it, with what was filled in."""
        return {**view, "state": state_of(view["blocks"], values)}

    def close(self, user: str, view_id: str) -> None:
        """Close a view and what is on top of it."""
        stack = self.open.get(user, [])
        places = [number for number, view in enumerate(stack) if view["id"] == view_id]
        self.open[user] = stack[: places[0]] if places else stack

    def submitted(self, user: str, view_id: str, answer: Any) -> Json:
        """Do what the app answered to a submission. What is returned are the errors that the user is shown."""
        action = answer.get("response_action") if isinstance(answer, dict) else None
        if action == "errors":
            return dict(answer.get("errors") or {})
        if action == "update":
            self.replace(view_id, None, answer.get("view"))
        elif action == "push":
            self.show(user, answer.get("view"), on_top=True)
        elif action == "clear":
            self.open[user] = []
        elif action is None:
            self.close(user, view_id)
        else:
            raise SlackError(f"no such response_action: {action}")
        return {}

    def _kept(self, view: Json) -> Json:
        """A view as Slack keeps and tells it."""
        given = {name: view.get(name) or "" for name in ("private_metadata", "callback_id", "external_id")}
        if given["external_id"] and self.find(lambda one: one["external_id"] == given["external_id"]):
            raise SlackError("duplicate_external_id")
        return {
            "id": self._clock.id("V"),
            "team_id": TEAM,
            "type": view["type"],
            "blocks": completed(view["blocks"], self._clock),
            **given,
            "state": {"values": {}},
            "hash": f"{self._clock.ts()}.{self._clock.id('h')}",
            "title": view.get("title"),
            "close": view.get("close"),
            "submit": view.get("submit"),
            "clear_on_close": bool(view.get("clear_on_close")),
            "notify_on_close": bool(view.get("notify_on_close")),
            "root_view_id": None,
            "previous_view_id": None,
            "app_id": APP,
            "app_installed_team_id": TEAM,
            "bot_id": BOT_ID,
        }
