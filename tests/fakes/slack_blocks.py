"""Block Kit: which blocks the fake Slack takes, what a person reads in them, and what can be pressed or filled in."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from tests.fakes.slack_world import Clock, Json, SlackError

BLOCKS_MOST = 50
VIEW_BLOCKS_MOST = 100
MARKDOWN_MOST = 12_000
SECTION_MOST = 3_000
METADATA_MOST = 16_000

MESSAGE_BLOCKS = frozenset(
    [
        "actions",
        "alert",
        "card",
        "carousel",
        "context",
        "context_actions",
        "data_table",
        "divider",
        "file",
        "header",
        "image",
        "markdown",
        "plan",
        "rich_text",
        "section",
        "table",
        "task_card",
        "video",
    ]
)
VIEW_BLOCKS = frozenset(
    ["actions", "alert", "context", "divider", "header", "image", "input", "markdown", "rich_text", "section", "video"]
)
CALLS_FOR_ALL = re.compile(r"<!(?:channel|here|everyone|subteam\^)")

# How the state of a view tells what was filled in, by the type of the element.
FILLED_IN = {
    "static_select": "selected_option",
    "radio_buttons": "selected_option",
    "external_select": "selected_option",
    "multi_static_select": "selected_options",
    "checkboxes": "selected_options",
    "users_select": "selected_user",
    "multi_users_select": "selected_users",
    "conversations_select": "selected_conversation",
    "multi_conversations_select": "selected_conversations",
    "channels_select": "selected_channel",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
}


def check_streamed_blocks(blocks: Any) -> list[Json]:
    """The same as `check_blocks`, which streams have another word for when there are too many."""
    if isinstance(blocks, list) and len(blocks) > BLOCKS_MOST:
        raise SlackError("msg_blocks_too_many")
    return check_blocks(blocks)


def check_blocks(blocks: Any, *, known: frozenset[str] = MESSAGE_BLOCKS, most: int = BLOCKS_MOST) -> list[Json]:
    """Blocks within the rules of Block Kit."""
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise SlackError("invalid_blocks_format")
    if len(blocks) > most:
        raise _invalid("", f"no more than {most} items allowed")
    for number, block in enumerate(blocks):
        _check_block(block, known, f"/{number}")
    if sum(len(str(block.get("text", ""))) for block in blocks if block.get("type") == "markdown") > MARKDOWN_MOST:
        raise SlackError("msg_blocks_too_long", "[ERROR] markdown blocks hold 12000 characters in all")
    named = [block["block_id"] for block in blocks if block.get("block_id")]
    if len(named) != len(set(named)):
        raise _invalid("", "`block_id` already exists")
    return blocks


def _invalid(place: str, told: str) -> SlackError:
    return SlackError("invalid_blocks", f"[ERROR] {told} [json-pointer:/blocks{place}]")


def _check_block(block: Json, known: frozenset[str], place: str) -> None:
    kind = block.get("type")
    if kind not in known:
        raise _invalid(f"{place}/type", f"unsupported type: {kind}")
    if len(str(block.get("block_id", ""))) > 255:
        raise _invalid(f"{place}/block_id", "must be less than 256 characters")
    check = {
        "section": _check_section,
        "header": _check_header,
        "markdown": _check_markdown,
        "actions": _check_actions,
        "context": _check_context,
        "context_actions": _check_context_actions,
        "input": _check_input,
    }.get(str(kind))
    if check:
        check(block, place)


def _check_text(text: Any, place: str, most: int, *, plain: bool = False) -> None:
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if not isinstance(text, dict) or text.get("type") not in kinds or not isinstance(text.get("text"), str):
        raise _invalid(place, "missing required field: text")
    if not 0 < len(text["text"]) <= most:
        told = f"must be less than {most + 1} characters" if text["text"] else "must be more than 0 characters"
        raise _invalid(f"{place}/text", told)


def _check_section(block: Json, place: str) -> None:
    if "text" not in block and "fields" not in block:
        raise _invalid(place, "missing required field: text or fields")
    if "text" in block:
        _check_text(block["text"], f"{place}/text", SECTION_MOST)
    if len(block.get("fields", [])) > 10:
        raise _invalid(f"{place}/fields", "no more than 10 items allowed")
    for number, text in enumerate(block.get("fields", [])):
        _check_text(text, f"{place}/fields/{number}", 2_000)
    if "accessory" in block:
        _check_element(block["accessory"], f"{place}/accessory")


def _check_header(block: Json, place: str) -> None:
    _check_text(block.get("text"), f"{place}/text", 150, plain=True)


def _check_markdown(block: Json, place: str) -> None:
    if not isinstance(block.get("text"), str) or not block["text"]:
        raise _invalid(f"{place}/text", "missing required field: text")


def _check_actions(block: Json, place: str) -> None:
    _check_elements(block, place, 25)


def _check_context_actions(block: Json, place: str) -> None:
    _check_elements(block, place, 5)
    for number, element in enumerate(block["elements"]):
        if element.get("type") not in ("feedback_buttons", "icon_button"):
            raise _invalid(f"{place}/elements/{number}", f"unsupported type: {element.get('type')}")


def _check_elements(block: Json, place: str, most: int) -> None:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= most:
        raise _invalid(f"{place}/elements", f"from 1 to {most} items allowed")
    for number, element in enumerate(elements):
        _check_element(element, f"{place}/elements/{number}")


def _check_context(block: Json, place: str) -> None:
    elements = block.get("elements")
    if not isinstance(elements, list) or not 1 <= len(elements) <= 10:
        raise _invalid(f"{place}/elements", "from 1 to 10 items allowed")
    for number, element in enumerate(elements):
        if element.get("type") != "image":
            _check_text(element, f"{place}/elements/{number}", 3_000)


def _check_input(block: Json, place: str) -> None:
    _check_text(block.get("label"), f"{place}/label", 2_000, plain=True)
    if "hint" in block:
        _check_text(block["hint"], f"{place}/hint", 2_000, plain=True)
    _check_element(block.get("element"), f"{place}/element")


def _check_element(element: Any, place: str) -> None:
    if not isinstance(element, dict) or not isinstance(element.get("type"), str):
        raise _invalid(place, "missing required field: type")
    if len(str(element.get("action_id", ""))) > 255:
        raise _invalid(f"{place}/action_id", "must be less than 256 characters")
    if element["type"] == "button":
        _check_text(element.get("text"), f"{place}/text", 75, plain=True)
        if len(str(element.get("value", ""))) > 2_000:
            raise _invalid(f"{place}/value", "must be less than 2001 characters")
    if element["type"] == "feedback_buttons":
        for name in ("positive_button", "negative_button"):
            button = element.get(name) or {}
            _check_text(button.get("text"), f"{place}/{name}/text", 75, plain=True)
            if not button.get("value"):
                raise _invalid(f"{place}/{name}", "missing required field: value")
    _check_options(element, place)


def _check_options(element: Json, place: str) -> None:
    options = element.get("options", [])
    if len(options) > 100:
        raise _invalid(f"{place}/options", "no more than 100 items allowed")
    for number, option in enumerate(options):
        _check_text(option.get("text"), f"{place}/options/{number}/text", 75)
        if not isinstance(option.get("value"), str) or len(option["value"]) > 150:
            raise _invalid(f"{place}/options/{number}/value", "must be less than 151 characters")
    initial = element.get("initial_option")
    if initial is not None and options and initial not in options:
        raise _invalid(f"{place}/initial_option", "`initial_option` is not part of `options`")


def check_view(view: Any) -> Json:
    """A view within the rules of modals and home tabs."""
    if not isinstance(view, dict) or view.get("type") not in ("modal", "home"):
        raise SlackError("invalid_arguments", "[ERROR] missing required field: type [json-pointer:/view]")
    try:
        check_blocks(view.get("blocks"), known=VIEW_BLOCKS, most=VIEW_BLOCKS_MOST)
        if view["type"] == "modal":
            _check_text(view.get("title"), "/title", 24, plain=True)
            for label in ("submit", "close"):
                if label in view:
                    _check_text(view[label], f"/{label}", 24, plain=True)
    except SlackError as error:
        raise SlackError("invalid_arguments", *(error.messages or (f"[ERROR] {error.code}",))) from None
    if any(block["type"] == "input" for block in view["blocks"]) and view["type"] == "modal" and "submit" not in view:
        raise SlackError("invalid_arguments", "[ERROR] `submit` is required when an `input` block is in `blocks`")
    for name, most in (("private_metadata", 3_000), ("callback_id", 255), ("external_id", 255)):
        if len(str(view.get(name) or "")) > most:
            raise SlackError("invalid_arguments", f"[ERROR] must be less than {most + 1} characters: {name}")
    if len(json.dumps(view)) > 250_000:
        raise SlackError("view_too_large")
    return view


def check_metadata(metadata: Any) -> Json:
    """Metadata of a message within the rules."""
    if metadata == {}:
        return {}
    if not isinstance(metadata, dict):
        raise SlackError("invalid_metadata_format")
    if not isinstance(metadata.get("event_type"), str) or not isinstance(metadata.get("event_payload"), dict):
        raise SlackError("invalid_metadata_schema")
    if len(json.dumps(metadata).encode()) > METADATA_MOST:
        raise SlackError("metadata_too_large")
    return metadata


def completed(blocks: Sequence[Json], clock: Clock) -> list[Json]:
    """Blocks as Slack keeps them: each with an id, and each element too."""
    kept = json.loads(json.dumps(blocks))
    for block in kept:
        block["block_id"] = block.get("block_id") or clock.id("b")
        for element in _elements_of(block):
            if "action_id" not in element and element.get("type") not in ("mrkdwn", "plain_text", "image"):
                element["action_id"] = clock.id("a")
    return list(kept)


def text_of_blocks(blocks: Sequence[Json]) -> str:
    """What a person reads in blocks."""
    return "\n".join(text for block in blocks for text in _texts(block) if text)


def _texts(block: Json) -> Iterator[str]:
    match block.get("type"):
        case "markdown":
            yield str(block.get("text", ""))
        case "section" | "header":
            yield str((block.get("text") or {}).get("text", ""))
            yield from (str(text.get("text", "")) for text in block.get("fields", []))
        case "context":
            yield " ".join(str(element.get("text", "")) for element in block.get("elements", []))
        case "rich_text":
            yield "".join(_rich(block))


def _rich(node: Json) -> Iterator[str]:
    match node.get("type"):
        case "text":
            yield str(node.get("text", ""))
        case "user":
            yield f"<@{node.get('user_id')}>"
        case "link":
            yield str(node.get("text") or node.get("url", ""))
    for child in node.get("elements", []):
        yield from _rich(child)


def calls_for_all(content: Any) -> str | None:
    """The first mention of everybody that is found anywhere in what is posted."""
    found = CALLS_FOR_ALL.search(content if isinstance(content, str) else json.dumps(content))
    return found.group() if found else None


def _elements_of(block: Json) -> Iterator[Json]:
    yield from (element for element in block.get("elements", []) if isinstance(element, dict))
    for name in ("accessory", "element"):
        if isinstance(block.get(name), dict):
            yield block[name]


def element_of(blocks: Sequence[Json], action_id: str) -> tuple[Json, Json]:
    """The block and the element that a person presses or changes."""
    for block in blocks:
        for element in _elements_of(block):
            if element.get("action_id") == action_id:
                return block, element
    raise ValueError(f"nothing to press here: {action_id}")


def action_on(blocks: Sequence[Json], action_id: str, value: Any, action_ts: str) -> Json:
    """One entry of `actions`, as if a person had pressed or changed the element."""
    block, element = element_of(blocks, action_id)
    kind = str(element["type"])
    action = {"type": kind, "action_id": action_id, "block_id": block["block_id"], "action_ts": action_ts}
    if kind in FILLED_IN:
        return {**action, FILLED_IN[kind]: _choice(element, value)}
    if kind == "feedback_buttons":
        buttons = [element["positive_button"], element["negative_button"]]
        chosen = buttons[0] if value is None else next((one for one in buttons if one["value"] == value), None)
        if chosen is None:
            raise ValueError(f"no such button: {value}")
        return {**action, "text": chosen["text"], "value": chosen["value"]}
    told: Json = {name: element[name] for name in ("text", "value", "style") if name in element}
    if value is not None and told.get("value") != value:
        raise ValueError(f"no such button: {value}")
    return {**action, **told}


def state_of(blocks: Sequence[Json], values: dict[str, dict[str, Any]]) -> Json:
    """What a person filled in, as `state.values` tells it. What was given at the start stays unless it is changed."""
    state: dict[str, Json] = {}
    for block in blocks:
        for element in _elements_of(block):
            if block["type"] == "input" or element.get("type") in FILLED_IN:
                given = values.get(block["block_id"], {})
                action_id = element["action_id"]
                filled = _filled(element, given.get(action_id), changed=action_id in given)
                state.setdefault(block["block_id"], {})[action_id] = filled
    for block_id, given in values.items():
        for action_id in given:
            if action_id not in state.get(block_id, {}):
                raise ValueError(f"nothing to fill in here: {block_id}, {action_id}")
    return {"values": state}


def _filled(element: Json, value: Any, *, changed: bool) -> Json:
    kind = str(element["type"])
    name = FILLED_IN.get(kind, "value")
    if changed:
        return {"type": kind, name: _choice(element, value)}
    initial = element.get(name.replace("selected", "initial") if name != "value" else "initial_value")
    return {"type": kind, name: initial if initial is not None else ([] if name.endswith("s") else None)}


def _choice(element: Json, value: Any) -> Any:
    """A value as Slack tells it: an option as a whole, if the element has options."""
    options = {option["value"]: option for option in element.get("options", [])}
    for group in element.get("option_groups", []):
        options |= {option["value"]: option for option in group["options"]}
    if not options or value is None:
        return value
    unknown = [one for one in (value if isinstance(value, list) else [value]) if one not in options]
    if unknown:
        raise ValueError(f"no such option: {unknown}")
    return [options[one] for one in value] if isinstance(value, list) else options[value]
