"""What may be in a message, and what a person reads of it: texts, embeds, components and files."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.fakes.discord_errors import DiscordError, Json, invalid_form, too_long

MOST_CHARACTERS = 2000
MOST_V2_CHARACTERS = 4000
MOST_COMPONENTS = 40
MOST_FILE_BYTES = 10 * 1024 * 1024
MOST_BYTES_OF_A_REQUEST = 25 * 1024 * 1024
MOST_FILES = 10

HAS_THREAD, EPHEMERAL, LOADING, SUPPRESS_EMBEDS, SILENT, VOICE_MESSAGE, V2 = 32, 64, 128, 4, 4096, 8192, 32768
SETTABLE = SUPPRESS_EMBEDS | SILENT | VOICE_MESSAGE | V2

ROW, BUTTON, SELECT, TEXT_INPUT, TEXT_DISPLAY = 1, 2, 3, 4, 10
SELECTS = (3, 5, 6, 7, 8)
CLICKABLE = (BUTTON, *SELECTS)
LEGACY_TOP = (ROW,)
EMBED_LIMITS = {"title": 256, "description": 4096}
NESTED = ("components", "component", "accessory", "items")

CODE = re.compile(r"```.*?```|`[^`\n]*`", re.DOTALL)
MENTION = re.compile(r"<@!?(\d+)>")
ROLE_MENTION = re.compile(r"<@&(\d+)>")
EVERYBODY = re.compile(r"@(everyone|here)")


@dataclass
class File:
    """A file: one that a person sends, or one that the bot did."""

    name: str
    content: bytes
    content_type: str | None = None
    seconds: float | None = None
    """How long a voice note is. None: it is none."""
    description: str | None = None
    width: int | None = None
    height: int | None = None
    id: int = 0
    place: str = ""
    signature: int = 0x0F1E2D3C
    """What links to it are signed with by now."""

    def as_json(self, url: str) -> Json:
        """An attachment. `url` is where files are served."""
        address = f"{url}attachments/{self.place}/{self.id}/{self.name}"
        signed = f"?ex=7fffffff&is=6fffffff&hm={self.signature:08x}"
        told = {"id": str(self.id), "filename": self.name, "size": len(self.content)}
        voice = {"duration_secs": self.seconds, "waveform": "AAAA"} if self.seconds is not None else {}
        sized = {"width": self.width, "height": self.height} if self.width else {}
        named = {"content_type": self.content_type, "description": self.description}
        known = {name: text for name, text in named.items() if text is not None}
        return {**told, "url": address + signed, "proxy_url": address + signed, **known, **voice, **sized}


@dataclass
class Content:
    """What a request puts into a message. None: nothing is said about it."""

    text: str | None = None
    embeds: list[Json] | None = None
    components: list[Json] | None = None
    kept_files: list[Json] | None = None
    new_files: list[File] = field(default_factory=list)
    flags: int | None = None
    allowed_mentions: Json | None = None


def content_of(body: Json, files: dict[int, File]) -> Content:
    """What the body of a request, with the files beside it, puts into a message."""
    if not isinstance(body.get("content"), str | None):
        raise invalid_form("content", "BASE_TYPE_STRING", "Could not interpret the value as string.")
    told: list[Json] | None = body.get("attachments")
    kept = None if told is None else [one for one in told if not _is_new(one, files)]
    return Content(
        text=body["content"] or "" if "content" in body else None,
        embeds=body["embeds"] or [] if "embeds" in body else None,
        components=body["components"] or [] if "components" in body else None,
        kept_files=kept,
        new_files=_described(files, told or []),
        flags=body.get("flags"),
        allowed_mentions=body.get("allowed_mentions"),
    )


def _is_new(one: Json, files: dict[int, File]) -> bool:
    return int(one["id"]) in files


def _described(files: dict[int, File], told: list[Json]) -> list[File]:
    by_number = {int(one["id"]): one for one in told}
    for number, file in files.items():
        said = by_number.get(number, {})
        file.name = said.get("filename") or file.name
        file.description = said.get("description")
    return list(files.values())


# ── components ───────────────────────────────────────────────────────────────


def walk(components: list[Json]) -> Iterator[Json]:
    """Every component, the outer ones first."""
    for one in components:
        yield one
        for name in NESTED:
            inner = one.get(name)
            nested = inner if isinstance(inner, list) else [inner] if isinstance(inner, dict) else []
            yield from walk([each for each in nested if "type" in each])


def numbered(components: list[Json]) -> list[Json]:
    """The same with an id for each component that has none."""
    taken = {one["id"] for one in walk(components) if "id" in one}
    free = iter(number for number in range(1, 1000) if number not in taken)
    for one in walk(components):
        if not one.get("id"):
            one["id"] = next(free)
    return components


def text_displays(components: list[Json]) -> list[str]:
    """The texts in components, in order."""
    return [str(one.get("content", "")) for one in walk(components) if one["type"] == TEXT_DISPLAY]


def clickable(components: list[Json], custom_id: str) -> Json:
    """The button or select of this id that a person can use."""
    for one in walk(components):
        if one["type"] in CLICKABLE and one.get("custom_id") == custom_id:
            if one.get("disabled"):
                raise ValueError(f"{custom_id!r} is disabled")
            return one
    there = [one["custom_id"] for one in walk(components) if one.get("custom_id")]
    raise ValueError(f"there is no {custom_id!r} to click, but {there}")


# ── what is allowed ──────────────────────────────────────────────────────────


def check(content: Content, *, v2: bool, before: int = 0) -> None:
    """Refuse what does not fit. `before`: the flags that the message had."""
    if before & V2 and content.flags is not None and not content.flags & V2:
        raise invalid_form("flags", "MESSAGE_CANNOT_REMOVE_COMPONENTS_V2_FLAG", "The flag cannot be removed")
    if len(content.text or "") > MOST_CHARACTERS:
        raise too_long("content", MOST_CHARACTERS)
    if len(content.new_files) + len(content.kept_files or []) > MOST_FILES:
        raise too_long("attachments", MOST_FILES)
    if any(len(file.content) > MOST_FILE_BYTES for file in content.new_files):
        raise DiscordError(40005)
    if sum(len(file.content) for file in content.new_files) > MOST_BYTES_OF_A_REQUEST:
        raise DiscordError(40005)
    _check_embeds(content.embeds or [])
    if v2:
        _check_v2(content)
    else:
        _check_legacy(content.components or [])
    _check_interactive(content.components or [])
    _check_allowed_mentions(content.allowed_mentions or {})


def _check_v2(content: Content) -> None:
    for name, there in (("content", content.text), ("embeds", content.embeds)):
        if there:
            text = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            raise invalid_form(name, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)
    components = content.components or []
    if sum(1 for _ in walk(components)) > MOST_COMPONENTS:
        raise too_long("components", MOST_COMPONENTS)
    if sum(map(len, text_displays(components))) > MOST_V2_CHARACTERS:
        text = f"Must be {MOST_V2_CHARACTERS} or fewer in length over all components."
        raise invalid_form("components", "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", text)


def _check_legacy(components: list[Json]) -> None:
    for one in components:
        if one.get("type") not in LEGACY_TOP:
            raise invalid_form("components.0.type", "UNION_TYPE_CHOICES", "Value of field 'type' must be one of (1,).")
    if len(components) > 5:
        raise too_long("components", 5)


def _check_interactive(components: list[Json]) -> None:
    seen: set[str] = set()
    for one in walk(components):
        if one["type"] == ROW and not 1 <= len(one.get("components", [])) <= 5:
            raise invalid_form("components.0.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
        custom_id = one.get("custom_id")
        if custom_id is not None and not 1 <= len(custom_id) <= 100:
            raise too_long("components.0.components.0.custom_id", 100)
        if custom_id in seen:
            text = "Component custom id cannot be duplicated"
            raise invalid_form("components.0.components.0.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", text)
        seen |= {custom_id} if custom_id else set()
        if one["type"] == BUTTON and len(one.get("label") or "") > 80:
            raise too_long("components.0.components.0.label", 80)


def _check_embeds(embeds: list[Json]) -> None:
    if len(embeds) > 10:
        raise too_long("embeds", 10)
    for number, embed in enumerate(embeds):
        for name, most in EMBED_LIMITS.items():
            if len(embed.get(name) or "") > most:
                raise too_long(f"embeds.{number}.{name}", most)
        _check_fields(embed, number)
    if sum(map(_embed_size, embeds)) > 6000:
        text = "Embed size exceeds maximum size of 6000"
        raise invalid_form("embeds", "MAX_EMBED_SIZE_EXCEEDED", text)


def _check_fields(embed: Json, number: int) -> None:
    fields = embed.get("fields") or []
    if len(fields) > 25:
        raise too_long(f"embeds.{number}.fields", 25)
    for name, most in (("name", 256), ("value", 1024)):
        if any(len(one[name]) > most for one in fields):
            raise too_long(f"embeds.{number}.fields.0.{name}", most)
    for name, inner, most in (("footer", "text", 2048), ("author", "name", 256)):
        if len((embed.get(name) or {}).get(inner) or "") > most:
            raise too_long(f"embeds.{number}.{name}.{inner}", most)


def _embed_size(embed: Json) -> int:
    texts = [embed.get("title"), embed.get("description")]
    texts += [(embed.get("footer") or {}).get("text"), (embed.get("author") or {}).get("name")]
    texts += [text for one in embed.get("fields") or [] for text in (one["name"], one["value"])]
    return sum(len(text) for text in texts if text)


def _check_allowed_mentions(allowed: Json) -> None:
    parse = allowed.get("parse") or []
    for name in ("users", "roles"):
        if name in parse and allowed.get(name):
            text = f'parse:["{name}"] and {name}: [ids...] are mutually exclusive.'
            raise invalid_form("allowed_mentions", "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", text)


# ── whom it calls ────────────────────────────────────────────────────────────


@dataclass
class Called:
    """Whom a text calls, by id, after what is allowed."""

    users: list[int] = field(default_factory=list)
    roles: list[int] = field(default_factory=list)
    everybody: list[str] = field(default_factory=list)


def called_by(texts: list[str], allowed: Json | None) -> Called:
    """Whom these texts call. Nothing in code calls anybody; without `allowed` everybody may be called."""
    text = "\n".join(CODE.sub("", one) for one in texts)
    users = list(dict.fromkeys(int(id) for id in MENTION.findall(text)))
    roles = list(dict.fromkeys(int(id) for id in ROLE_MENTION.findall(text)))
    everybody = sorted(set(EVERYBODY.findall(text)))
    if allowed is None:
        return Called(users, roles, everybody)
    return Called(
        [id for id in users if _is_allowed(allowed, "users", id)],
        [id for id in roles if _is_allowed(allowed, "roles", id)],
        everybody if "everyone" in (allowed.get("parse") or []) else [],
    )


def _is_allowed(allowed: Json, kind: str, id: int) -> bool:
    return kind in (allowed.get("parse") or []) or str(id) in map(str, allowed.get(kind) or [])


def readable(text: str, embeds: list[Json], components: list[Json]) -> str:
    """What a person reads."""
    parts = [text, *text_displays(components)]
    for embed in embeds:
        parts += [str(embed[name]) for name in ("title", "description") if embed.get(name)]
        parts += [f"{one['name']}: {one['value']}" for one in embed.get("fields") or []]
    return "\n".join(part for part in parts if part)


def kept_embeds(embeds: list[Json]) -> list[Json]:
    """Embeds as they are told afterwards."""
    return [{"type": "rich", **{name: value for name, value in embed.items() if value is not None}} for embed in embeds]
