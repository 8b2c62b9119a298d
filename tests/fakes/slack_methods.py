"""The methods of Slack's Web API that the fake knows, each a function of what is kept and of its arguments."""

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any

from tests.fakes import slack_chat as chat
from tests.fakes import slack_files as files
from tests.fakes.slack_messages import Message
from tests.fakes.slack_state import SESSION_STATUSES, Place, State
from tests.fakes.slack_world import APP, BOT_ID, BOT_USER, TEAM, Channel, Json, SlackError, required

Method = Callable[[State, Json], Json]

HISTORY = ("channels:history", "groups:history", "im:history", "mpim:history")
READ = ("channels:read", "groups:read", "im:read", "mpim:read")
SCOPES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(["chat.postMessage", "chat.postEphemeral", "chat.update", "chat.delete"], ("chat:write",)),
    **dict.fromkeys(["chat.startStream", "chat.appendStream", "chat.stopStream"], ("chat:write",)),
    **dict.fromkeys(["agents.sessions.setStatus", "agents.sessions.rename"], ("chat:write",)),
    "assistant.threads.setStatus": ("chat:write", "assistant:write"),
    **dict.fromkeys(["assistant.threads.setTitle", "assistant.threads.setSuggestedPrompts"], ("assistant:write",)),
    **dict.fromkeys(["conversations.replies", "conversations.history"], HISTORY),
    **dict.fromkeys(["conversations.info", "conversations.members"], READ),
    "conversations.open": ("channels:manage", "groups:write", "im:write", "mpim:write"),
    "users.info": ("users:read",),
    "bots.info": ("users:read",),
    "usergroups.list": ("usergroups:read",),
    "usergroups.users.list": ("usergroups:read",),
    "reactions.add": ("reactions:write",),
    "reactions.remove": ("reactions:write",),
    "files.info": ("files:read",),
    **dict.fromkeys(["files.getUploadURLExternal", "files.completeUploadExternal", "files.delete"], ("files:write",)),
    "team.info": ("team:read",),
}
ALL_SCOPES = frozenset(
    [
        "app_mentions:read",
        "assistant:write",
        "chat:write",
        "commands",
        "im:history",
        "im:read",
        "im:write",
        "mpim:history",
        "mpim:read",
        "channels:history",
        "channels:read",
        "groups:history",
        "groups:read",
        "files:read",
        "files:write",
        "reactions:write",
        "users:read",
        "usergroups:read",
        "team:read",
    ]
)
SCOPE_OF_KIND = {"channel": "channels", "private": "groups", "im": "im", "mpim": "mpim"}


def needed_scope(state: State, method: str, args: Json, scopes: set[str]) -> str | None:
    """The scope that this call lacks."""
    wanted = SCOPES.get(method, ())
    channel = state.world.channels.get(str(args.get("channel")))
    if wanted in (HISTORY, READ) and channel:
        wanted = (f"{SCOPE_OF_KIND[channel.kind]}:{'history' if wanted == HISTORY else 'read'}",)
    return None if not wanted or scopes.intersection(wanted) else wanted[0]


# ── who and what there is ────────────────────────────────────────────────────


def api_test(state: State, args: Json) -> Json:
    if args.get("error"):
        raise SlackError(str(args["error"]), args=args)
    return {"args": args}


def auth_test(state: State, args: Json) -> Json:
    return {
        "url": "https://small-company.slack.com/",
        "team": "Small Company",
        "user": state.world.users[BOT_USER].username,
        "team_id": TEAM,
        "user_id": BOT_USER,
        "bot_id": BOT_ID,
        "is_enterprise_install": False,
    }


def users_info(state: State, args: Json) -> Json:
    user = state.world.user(*required(args, "user"))
    is_locale_told = str(args.get("include_locale")).lower() in ("true", "1")
    return {"user": user.as_json() | ({"locale": user.locale} if is_locale_told else {})}


def bots_info(state: State, args: Json) -> Json:
    wanted = str(args.get("bot") or BOT_ID)
    for user in state.world.users.values():
        if user.bot_id == wanted:
            told = {"id": wanted, "deleted": user.deleted, "name": user.name, "updated": 1, "user_id": user.id}
            return {"bot": {**told, "app_id": APP if wanted == BOT_ID else "A9", "icons": {}}}
    raise SlackError("bot_not_found")


def team_info(state: State, args: Json) -> Json:
    return {"team": {"id": TEAM, "name": "Small Company", "domain": "small-company", "email_domain": "", "icon": {}}}


def usergroups_list(state: State, args: Json) -> Json:
    groups = state.world.usergroups.items()
    told = {"team_id": TEAM, "is_usergroup": True, "is_external": False, "date_delete": 0}
    return {
        "usergroups": [
            {**told, "id": id, "name": name, "handle": name, "users": members, "user_count": len(members)}
            for id, (name, members) in groups
        ]
    }


def usergroups_users_list(state: State, args: Json) -> Json:
    (id,) = required(args, "usergroup")
    if id not in state.world.usergroups:
        raise SlackError("no_such_subteam")
    return {"users": state.world.usergroups[id][1]}


# ── conversations ────────────────────────────────────────────────────────────


def conversations_info(state: State, args: Json) -> Json:
    return {"channel": state.world.channel(*required(args, "channel")).as_json()}


def conversations_open(state: State, args: Json) -> Json:
    users = [user for user in str(args.get("users") or "").split(",") if user]
    if args.get("channel"):
        channel = state.world.channel(str(args["channel"]))
    elif len(users) == 1:
        channel = state.world.dm(state.world.user(users[0]).id)
    elif users:
        channel = _group_of([state.world.user(user).id for user in users], state)
    else:
        raise SlackError("users_list_not_supplied")
    return {"channel": channel.as_json() if args.get("return_im") else {"id": channel.id}}


def _group_of(users: Sequence[str], state: State) -> Channel:
    for channel in state.world.channels.values():
        if channel.kind == "mpim" and set(channel.members) == {*users, BOT_USER}:
            return channel
    return state.world.add_channel(state.clock.id("G"), "mpim", users)


def conversations_members(state: State, args: Json) -> Json:
    channel = state.world.channel(*required(args, "channel"))
    members, cursor = _page(channel.members, args, most=100)
    return {"members": members, "response_metadata": {"next_cursor": cursor}}


def conversations_replies(state: State, args: Json) -> Json:
    id, ts = required(args, "channel", "ts")
    channel = _readable(state, id)
    thread = state.in_thread(channel.id, ts)
    if not thread:
        raise SlackError("thread_not_found")
    root = next((message for message in thread if message.ts == ts), None)
    replies = [message for message in thread if message is not root and _between(message, args)]
    first_page = not args.get("cursor")
    page, cursor = _page(replies, args, most=1000, taken=1 if root and first_page else 0)
    told = [_with_replies(message, thread, args) for message in ([root] if root and first_page else []) + page]
    return {"messages": told, "has_more": bool(cursor), "response_metadata": {"next_cursor": cursor}}


def conversations_history(state: State, args: Json) -> Json:
    channel = _readable(state, *required(args, "channel"))
    kept = [message for message in state.messages.get(channel.id, {}).values() if not message.deleted]
    top = [message for message in kept if message.thread_ts in (None, message.ts) or message.subtype]
    found = [message for message in reversed(top) if _between(message, args)]
    page, cursor = _page(found, args, most=100)
    told = [_with_replies(one, [m for m in kept if m.thread_ts == one.ts], args) for one in page]
    more: Json = {"response_metadata": {"next_cursor": cursor}} if cursor else {}
    return {"messages": told, "has_more": bool(cursor), "pin_count": 0, **more}


def _readable(state: State, id: str) -> Channel:
    channel = state.world.channel(id)
    if not channel.bot_is_in:
        raise SlackError("not_in_channel")
    return channel


def _between(message: Message, args: Json) -> bool:
    oldest, latest = str(args.get("oldest") or "0"), str(args.get("latest") or "9" * 10)
    if _yes(args.get("inclusive")) and message.ts in (oldest, latest):
        return True
    return float(oldest) < float(message.ts) < float(latest)


def _yes(value: Any) -> bool:
    return value in (True, 1, "1", "true", "True")


def _with_replies(message: Message, thread: Sequence[Message], args: Json) -> Json:
    told = message.as_json(metadata=_yes(args.get("include_all_metadata")))
    replies = [one for one in thread if one.thread_ts == message.ts and one is not message]
    if replies and message.thread_ts in (None, message.ts):
        users = list(dict.fromkeys(one.user for one in replies))
        told |= {"thread_ts": message.ts, "reply_count": len(replies), "reply_users": users}
        told |= {"reply_users_count": len(users), "latest_reply": replies[-1].ts}
    return told


def _page(items: Sequence[Any], args: Json, *, most: int, taken: int = 0) -> tuple[list[Any], str]:
    """One page of a list, and the cursor of the next one."""
    limit = int(args.get("limit") or most)
    if not 1 <= limit <= max(most, 1000):
        raise SlackError("invalid_limit")
    start = _place(args["cursor"]) if args.get("cursor") else 0
    end = start + max(limit - taken, 0)
    cursor = base64.b64encode(json.dumps({"from": end}).encode()).decode() if end < len(items) else ""
    return list(items[start:end]), cursor


def _place(cursor: Any) -> int:
    try:
        return int(json.loads(base64.b64decode(str(cursor)))["from"])
    except (ValueError, KeyError, TypeError):
        raise SlackError("invalid_cursor") from None


# ── reactions and views ──────────────────────────────────────────────────────


def reactions_add(state: State, args: Json) -> Json:
    users = _reaction(state, args)
    if BOT_USER in users:
        raise SlackError("already_reacted")
    users.append(BOT_USER)
    return {}


def reactions_remove(state: State, args: Json) -> Json:
    users = _reaction(state, args)
    if BOT_USER not in users:
        raise SlackError("no_reaction")
    users.remove(BOT_USER)
    return {}


def _reaction(state: State, args: Json) -> list[str]:
    id, name, ts = required(args, "channel", "name", "timestamp")
    if not name.replace("_", "").replace("-", "").replace("+", "").isalnum():
        raise SlackError("invalid_name")
    message = state.message(_readable(state, id).id, ts)
    return message.reactions.setdefault(name, [])


def views_open(state: State, args: Json) -> Json:
    required(args, "view")
    return {"view": state.views.show(state.views.exchange(args.get("trigger_id")), args["view"])}


def views_push(state: State, args: Json) -> Json:
    required(args, "view")
    return {"view": state.views.show(state.views.exchange(args.get("trigger_id")), args["view"], on_top=True)}


def views_update(state: State, args: Json) -> Json:
    required(args, "view")
    if not args.get("view_id") and not args.get("external_id"):
        required(args, "view_id")
    return {"view": state.views.replace(args.get("view_id"), args.get("external_id"), args["view"], args.get("hash"))}


def views_publish(state: State, args: Json) -> Json:
    user, _ = required(args, "user_id", "view")
    return {"view": state.views.publish(state.world.user(user).id, args["view"], args.get("hash"))}


# ── what is shown while an app works ─────────────────────────────────────────


def agents_sessions_set_status(state: State, args: Json) -> Json:
    place = _session(state, args)
    (status,) = required(args, "status")
    if status not in SESSION_STATUSES:
        raise SlackError("invalid_arguments", f"[ERROR] must be one of {SESSION_STATUSES} [json-pointer:/status]")
    if len(str(args.get("title") or "")) > 200:
        raise SlackError("invalid_arguments", "[ERROR] must be less than 201 characters [json-pointer:/title]")
    initiator = args.get("initiator_user_id")
    if initiator and initiator not in state.world.channels[place[0]].members:
        raise SlackError("user_not_found")
    state.set_session(place, status, args.get("title"))
    told: Json = {"status": status, "agent_status": status, "title": state.session_titles.get(place, "")}
    if "agent_session_stopped" not in state.events:
        told["warning"] = "missing_agent_session_stopped_event_subscription"
    return told


def agents_sessions_rename(state: State, args: Json) -> Json:
    place = _session(state, args)
    (title,) = required(args, "title")
    if len(title) > 200:
        raise SlackError("invalid_arguments", "[ERROR] must be less than 201 characters [json-pointer:/title]")
    if place not in state.sessions:
        raise SlackError("session_not_found")
    state.session_titles[place] = title
    return {"title": title}


def _session(state: State, args: Json) -> Place:
    if not state.is_agent:
        raise SlackError("not_authorized")
    id, ts = required(args, "channel_id", "thread_ts")
    channel = _readable(state, id)
    return channel.id, state.thread_root(channel.id, ts)


def assistant_threads_set_status(state: State, args: Json) -> Json:
    place = _thread(state, args)
    if "status" not in args:
        required(args, "status")
    messages = args.get("loading_messages") or []
    if len(messages) > 10:
        raise SlackError("invalid_arguments", "[ERROR] no more than 10 items allowed [json-pointer:/loading_messages]")
    state.set_status(place, str(args["status"]), list(messages))
    return {}


def assistant_threads_set_title(state: State, args: Json) -> Json:
    state.thread_titles[_thread(state, args)] = required(args, "title")[0]
    return {}


def assistant_threads_set_suggested_prompts(state: State, args: Json) -> Json:
    if not state.is_agent:
        raise SlackError("not_agent_app")
    (id,) = required(args, "channel_id")
    prompts = args.get("prompts")
    whole = isinstance(prompts, list) and all(one.get("title") and one.get("message") for one in prompts)
    if not whole or not 1 <= len(prompts or []) <= 4:
        raise SlackError(
            "invalid_arguments", "[ERROR] from 1 to 4 prompts with title and message [json-pointer:/prompts]"
        )
    place = _thread(state, args) if args.get("thread_ts") else (_readable(state, id).id, "")
    state.prompts[place] = list(prompts or [])
    return {}


def _thread(state: State, args: Json) -> Place:
    id, ts = required(args, "channel_id", "thread_ts")
    channel = _readable(state, id)
    if not state.in_thread(channel.id, ts):
        raise SlackError("invalid_thread_ts")
    return channel.id, state.thread_root(channel.id, ts)


METHODS: dict[str, Method] = {
    "api.test": api_test,
    "auth.test": auth_test,
    "users.info": users_info,
    "bots.info": bots_info,
    "team.info": team_info,
    "usergroups.list": usergroups_list,
    "usergroups.users.list": usergroups_users_list,
    "conversations.info": conversations_info,
    "conversations.open": conversations_open,
    "conversations.members": conversations_members,
    "conversations.replies": conversations_replies,
    "conversations.history": conversations_history,
    "reactions.add": reactions_add,
    "reactions.remove": reactions_remove,
    "views.open": views_open,
    "views.push": views_push,
    "views.update": views_update,
    "views.publish": views_publish,
    "agents.sessions.setStatus": agents_sessions_set_status,
    "agents.sessions.rename": agents_sessions_rename,
    "assistant.threads.setStatus": assistant_threads_set_status,
    "assistant.threads.setTitle": assistant_threads_set_title,
    "assistant.threads.setSuggestedPrompts": assistant_threads_set_suggested_prompts,
    **chat.METHODS,
    **files.METHODS,
}
