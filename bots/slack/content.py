"""What a message in Slack says: its words, and what its blocks, attachments and files show.

Sources: docs.slack.dev on formatting message text, Block Kit, secondary attachments, events/message and the file
object. What a forwarded message looks like is told by no page, but by every message that has one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from bots.shared.content import (
    LONGEST_CONTENT,
    LONGEST_NAME,
    Content,
    Mask,
    Quote,
    Reader,
    SharedFile,
    kind_in,
    text_in,
)
from bots.shared.words import plain_name
from core import Json, Sentence, as_moment

# What people say, and what Slack or an app says, which may be told along with it but is no question.
ACCEPTED_SUBTYPES = (None, "file_share", "thread_broadcast", "me_message")
OTHER_SUBTYPES = frozenset(
    {
        "assistant_app_thread", "bot_add", "bot_disable", "bot_enable", "bot_message", "bot_remove",
        "channel_archive", "channel_canvas_updated", "channel_convert_to_private", "channel_convert_to_public",
        "channel_join", "channel_leave", "channel_name", "channel_posting_permissions", "channel_purpose",
        "channel_topic", "channel_unarchive", "document_mention", "ekm_access_denied", "file_comment", "file_mention",
        "group_archive", "group_join", "group_leave", "group_name", "group_purpose", "group_topic", "group_unarchive",
        "huddle_thread", "joiner_notification", "list_record_comment", "message_changed", "message_deleted",
        "message_replied", "pinned_item", "reminder_add", "reminder_delete", "reply_broadcast", "sh_room_created",
        "sh_room_shared", "share_shortcut", "slackbot_response", "tabbed_canvas_updated", "tombstone", "unpinned_item",
        "user_profile_change_log",
    }
)  # fmt: skip
APP_SUBTYPES = ("bot_message",)  # what an app says without an account of its own, a workflow for example
A_FILE, AN_ATTACHMENT = "a file without a name", "an attachment"
NAMELESS_ATTACHMENT = "an attachment that says nothing"
NOTHING_TO_SHOW = ("This content can't be displayed.", "This message contains interactive elements.",
                   "[no preview available]")  # fmt: skip
QUOTES = ("is_share", "is_msg_unfurl", "is_reply_unfurl", "is_thread_root_unfurl")
LONGEST_PREVIEW = 4_000  # characters of a file, as its message has them
LONGEST_TEXT = 40_000  # characters of a message's text

_MARKUP = re.compile(r"<([^<>\s][^<>]*)>")
_LINK_TO_A_MESSAGE = re.compile(r"/archives/([A-Z0-9]{1,40})/p(\d{10})(\d{6})(?!\d)")
_TIMESTAMP = re.compile(r"\d{1,20}\.\d{1,20}", re.ASCII)
_SECONDS = re.compile(r"-?\d{1,13}", re.ASCII)
_ID = re.compile(r"[A-Z][A-Z0-9]{0,39}", re.ASCII)

# What may hold words, in the order in which people see it. Of what is not listed here nobody knows what it says.
_BLOCKS: dict[str, tuple[str, ...]] = {
    "actions": ("elements",),
    "alert": ("title", "text"),
    "auth_provider": ("name", "description", "connected_identity", "connected_context", "accessory", "fallback"),
    "card": ("title", "subtitle", "body", "subtext", "hero_image", "icon", "actions"),
    "carousel": ("elements",),
    "container": ("title", "rich_text_title", "subtitle", "child_blocks", "icon"),
    "context": ("elements",),
    "context_actions": ("elements",),
    "divider": (),
    "header": ("text",),
    "input": ("label", "element", "hint"),
    "markdown": ("text",),
    "plan": ("title", "tasks"),
    "section": ("text", "fields", "accessory"),
    "task_card": ("title", "details", "output", "sources"),
}
_ELEMENTS: dict[str, tuple[str, ...]] = {
    "plain_text": ("text",), "mrkdwn": ("text",), "raw_text": ("text",), "raw_number": ("text",),
    "button": ("text",), "workflow_button": ("text",), "icon_button": ("text",), "action": ("element",),
    "feedback_buttons": ("positive_button", "negative_button"), "url": ("text", "url"), "icon": (),
    "checkboxes": ("options",), "radio_buttons": ("options",), "overflow": ("options",),
    "datepicker": ("placeholder", "initial_date"), "timepicker": ("placeholder", "initial_time"),
    "datetimepicker": ("initial_date_time",),
    **dict.fromkeys(("static_select", "multi_static_select"), ("placeholder", "options", "option_groups")),
    **dict.fromkeys(
        (
            "external_select", "multi_external_select", "users_select", "multi_users_select", "conversations_select",
            "multi_conversations_select", "channels_select", "multi_channels_select", "file_input",
        ),
        ("placeholder", "initial_option", "initial_options"),
    ),
    **dict.fromkeys(
        ("email_text_input", "url_text_input", "number_input", "plain_text_input", "rich_text_input"),
        ("placeholder", "initial_value"),
    ),
}  # fmt: skip
_PLAYED = {
    "the picture in {name}": ("image_url", "thumb_url"), "the video in {name}": ("video_html", "video_url"),
    "the recording in {name}": ("audio_html", "audio_url"),
}  # fmt: skip
_WITHOUT_A_TYPE = ("title", "label", "text", "description", "options", "url")  # an option, a group of them, a button


def readable(text: str) -> str:
    """Slack's markup as people see it, but for what has a name that takes time to find.

    People are still `<@U1>`, channels and user groups without a name `<#C1>` and `<!subteam^S1>`.
    """
    text = _MARKUP.sub(_seen, text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")  # Slack escapes nothing else


def subtype_of(message: Json) -> str | None:
    """What kind of message it is; None is the usual one."""
    subtype = message.get("subtype")
    return subtype if isinstance(subtype, str) or subtype is None else "?"


def is_of_an_app(message: Json) -> bool:
    """Whether an app or an integration says it, be it for somebody."""
    return bool(message.get("bot_id") or message.get("bot_profile") or message.get("subtype") == "bot_message")


def ids_of_app(message: Json) -> set[str]:
    """By which ids the app that says it is known: those of the bot (`B…`) and of the app (`A…`)."""
    profile = message.get("bot_profile")
    told = [message.get("bot_id"), message.get("app_id")]
    if isinstance(profile, dict):
        told += [profile.get("id"), profile.get("app_id")]
    return {id_ for id_ in map(text_in, told) if id_}


def author_of(message: Json) -> str:
    """Who says it, as they are told; people are still `<@U1>`. Empty where Slack does not tell."""
    user = text_in(message.get("user"))
    known = f"<@{user}>" if _ID.fullmatch(user) else ""
    if not is_of_an_app(message):
        return known
    profile = message.get("bot_profile")
    name = text_in(message.get("username")) or text_in(profile.get("name") if isinstance(profile, dict) else None)
    return f"{name or known or 'An app'} (app)"


def raw_words_of(message: Json) -> str:
    """The words of a message in Slack's markup: its text or, where it has none, its rich text."""
    text = text_in(message.get("text"))
    if text.strip() and text.strip() not in NOTHING_TO_SHOW:
        return text
    reader = _Reader(str, in_markup=True, room=LONGEST_TEXT)
    for block in reader.objects(message.get("blocks"), "a block", 0):
        if block.get("type") == "rich_text":
            reader.block(block, 1)
    return reader.text


def content_of(
    message: Json, masked: Mask = str, install: str = "", *, takes_files: bool = False, masked_speech: Mask = str
) -> Content:
    """What a message says; people are still `<@U1>`, and what nobody wrote in it is `masked`. Nothing makes it fail.

    Messages that it quotes are known as those of an installation. With `takes_files` its own files are to be fetched;
    what Slack heard in them is `masked_speech`.
    """
    reader = _Reader(masked, install, takes_files=takes_files, masked_speech=masked_speech)
    subtype = subtype_of(message)
    if subtype not in ACCEPTED_SUBTYPES and subtype not in OTHER_SUBTYPES:
        reader.miss(Sentence("a message of the kind {kind}", kind=kind_in({"type": subtype})))
    words = readable(raw_words_of(message)).strip()
    # What people write is in the text as well; an app's text is for notifications, and blocks are what is seen.
    reader.blocks(message.get("blocks"), 0, said=() if is_of_an_app(message) else ("rich_text",))
    for attachment in reader.objects(message.get("attachments"), "an attachment", 0):
        reader.attachment(attachment, 1)
    reader.files(message.get("files"), 0)
    for _ in reader.items(message.get("x_files"), A_FILE, 0):
        reader.miss(A_FILE)
    for name in ("comment", "room"):  # of a file, and a huddle's
        about = message.get(name)
        if isinstance(about, dict):
            reader.say(readable(text_in(about.get("comment")) or text_in(about.get("name"))))
    content = reader.content(words)
    return replace(content, words="") if is_of_an_app(message) and words in content.shown else content


class _Reader(Reader):
    """Reads what Slack's messages are made of. `in_markup`: what is said is left in Slack's own markup."""

    def __init__(
        self, masked: Mask, install: str = "", *, in_markup: bool = False, room: int = LONGEST_CONTENT,
        takes_files: bool = False, masked_speech: Mask = str,
    ) -> None:  # fmt: skip
        super().__init__(masked, room, takes_files=takes_files)
        self._masked_speech = masked_speech
        self._install = install
        self._readable: Callable[[str], str] = str if in_markup else readable

    # ── blocks ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def blocks(self, value: object, depth: int, *, said: tuple[str, ...] = ()) -> None:
        """Blocks; those of the kinds that are `said` already only where something in them cannot be read."""
        for block in self.objects(value, "a block", depth):
            if block.get("type") in said:
                with self.quiet():
                    self.block(block, depth + 1)
            else:
                self.block(block, depth + 1)

    def block(self, block: Json, depth: int) -> None:
        """A block."""
        kind = block.get("type")
        if not isinstance(kind, str):
            self.miss("a block that has no name")
        elif special := _SPECIAL_BLOCKS.get(kind):
            special(self, block, depth)
        elif (names := _BLOCKS.get(kind)) is not None:
            self._parts_of(block, names, depth)
        else:
            self.miss(Sentence("a block of the kind {kind}", kind=kind_in(block)))

    def _parts_of(self, part: Json, names: tuple[str, ...], depth: int) -> None:
        for name in names:
            value = part.get(name)
            for each in self.items(value if isinstance(value, list) else [value], "a block", depth):
                self._part(each, depth + 1)

    def _part(self, value: object, depth: int) -> None:
        """Whatever a block may be made of."""
        if not isinstance(value, dict):
            if isinstance(value, list):
                self.miss("a part of a block")
            self.say(self._readable(text_in(value)))
            return
        kind = value.get("type")
        if kind is None:
            self._parts_of(value, _WITHOUT_A_TYPE, depth)
        elif isinstance(kind, str) and kind in _ELEMENTS:
            self._parts_of(value, _ELEMENTS[kind], depth)
        else:
            self.block(value, depth)

    def _rich_text(self, block: Json, depth: int) -> None:
        for element in self.objects(block.get("elements"), "a part of the text", depth):
            kind = element.get("type")
            if kind == "rich_text_list":
                indent = element.get("indent")
                begin = "  " * (indent if isinstance(indent, int) and 0 < indent < 9 else 0) + "• "
                for item in self.objects(element.get("elements"), "an item of a list", depth + 1):
                    self.say(begin + self._inline(item, depth + 2))
            elif kind == "rich_text_quote":
                self.say("\n".join(f"> {line}" for line in self._inline(element, depth + 1).splitlines()))
            elif kind == "rich_text_preformatted":
                self.say(f"```\n{self._inline(element, depth + 1)}\n```")
            elif kind in ("rich_text_section", "rich_text_header"):
                self.say(self._inline(element, depth + 1))
            elif kind != "rich_text_divider":
                self.miss(Sentence("a part of the text of the kind {kind}", kind=kind_in(element)))

    def _inline(self, element: Json, depth: int) -> str:
        pieces = []
        for part in self.objects(element.get("elements"), "a part of the text", depth):
            kind = part.get("type")
            read = _INLINE.get(kind) if isinstance(kind, str) else None
            if read is None:
                self.miss(Sentence("a part of the text of the kind {kind}", kind=kind_in(part)))
            else:
                pieces.append(read(part))
        return self._readable("".join(pieces))

    def _table(self, block: Json, depth: int) -> None:
        self._part(block.get("caption"), depth)
        for row in self.items(block.get("rows"), "a row of a table", depth):
            cells = []
            for cell in self.items(row, "a row of a table", depth + 1):
                with self.apart() as apart:
                    self._part(cell, depth + 2)
                cells.append(" ".join(apart.text.split()))
                for what in apart.unread:
                    self.miss(what)
            self.say(f"| {' | '.join(cells)} |")

    def _chart(self, block: Json, depth: int) -> None:
        self._part(block.get("title"), depth)
        chart = block.get("chart")
        if not isinstance(chart, dict):
            self.miss("a chart")
            return
        axes = chart.get("axis_config")
        for name in ("x_axis_title", "y_axis_title", "x_label", "y_label"):
            self._part(axes.get(name) if isinstance(axes, dict) else None, depth)
        self._points(chart.get("segments"), depth)
        for series in self.objects(chart.get("series"), "a line of a chart", depth):
            self.say(text_in(series.get("name")))
            self._points(series.get("data"), depth + 1)
        if not isinstance(chart.get("segments") or chart.get("series"), list):
            self.miss("a chart")

    def _points(self, value: object, depth: int) -> None:
        for point in self.objects(value, "a value of a chart", depth):
            self.say(f"{text_in(point.get('label'))}: {text_in(point.get('value'))}")

    def _image(self, block: Json, depth: int) -> None:
        with self.apart() as apart:
            self._parts_of(block, ("title", "alt_text"), depth)
        name = " ".join(apart.text.split())
        self.say(name)
        self.miss(Sentence("the picture {name}", name=_plain(name)) if name else "a picture")

    def _video(self, block: Json, depth: int) -> None:
        self._parts_of(block, ("title", "description", "author_name", "provider_name", "title_url"), depth)
        name = _plain(text_in(block.get("alt_text")))
        self.miss(Sentence("the video {name}", name=name) if name else "the video")

    def _call(self, block: Json, depth: int) -> None:
        call = block.get("call")
        call = call.get("v1") if isinstance(call, dict) else None
        self.say(f"A call {text_in(call.get('name'))}".strip() if isinstance(call, dict) else "A call")

    def _file_block(self, block: Json, depth: int) -> None:
        file = block.get("file")
        self.file(file if isinstance(file, dict) else {}, depth)

    # ── attachments and files ────────────────────────────────────────────────────────────────────────────────────────

    def attachment(self, attachment: Json, depth: int) -> None:
        """An attachment: what an app adds to a message, what a link leads to, or a message that is quoted."""
        if any(attachment.get(name) is True for name in QUOTES):
            with self.apart() as apart:
                self._attached(attachment, depth, ())
            author = text_in(attachment.get("author_id"))
            name = text_in(attachment.get("author_name")) or (f"<@{author}>" if _ID.fullmatch(author) else "")
            message = _message_of(attachment)
            id_ = f"{self._install}:{message}" if message else ""
            self.quotes.append(Quote(id_, author, self.masked(name, LONGEST_NAME), apart.text, apart.unread))
            self.quotes += apart.quotes
            return
        self._attached(attachment, depth, ("author_name", "author_subname"))

    def _attached(self, attachment: Json, depth: int, authors: tuple[str, ...]) -> None:
        with self.apart() as apart:
            self._all_attached(attachment, depth, authors)
        if not (apart.lines or apart.quotes or apart.unread):
            fallback = readable(text_in(attachment.get("fallback"))).strip()
            if not fallback or fallback in NOTHING_TO_SHOW:
                self.miss(NAMELESS_ATTACHMENT)
            self.say("" if fallback in NOTHING_TO_SHOW else fallback)
        self.lines += apart.lines
        self.quotes += apart.quotes
        for what in apart.unread:
            self.miss(what)

    def _all_attached(self, attachment: Json, depth: int, authors: tuple[str, ...]) -> None:
        for name in ("service_name", "pretext", *authors):
            self.say(readable(text_in(attachment.get(name))))
        preview = attachment.get("preview")
        if isinstance(preview, dict):
            self._parts_of(preview, ("title", "subtitle"), depth)
        title, link = (readable(text_in(attachment.get(name))) for name in ("title", "title_link"))
        self.say(f"{title} ({link})" if title and link and link != title else title or link)
        before = len(self.lines)
        for message in self.objects(attachment.get("message_blocks"), "a message", depth):
            inner = message.get("message")
            self.blocks(inner.get("blocks") if isinstance(inner, dict) else None, depth + 1)
        if len(self.lines) == before:
            self.blocks(attachment.get("blocks"), depth)
        text = readable(text_in(attachment.get("text"))).strip()
        if text not in "\n".join(self.lines[before:]):
            self.say(text)
        for field in self.objects(attachment.get("fields"), "a field of an attachment", depth):
            name, value = (readable(text_in(field.get(part))) for part in ("title", "value"))
            self.say(f"{name}: {value}" if name and value else name or value)
        self.files(attachment.get("files"), depth)
        for other in self.objects(attachment.get("attachments"), "an attachment", depth):
            self.attachment(other, depth + 1)
        for what, names in _PLAYED.items():
            if any(attachment.get(name) for name in names):
                self.miss(what.format(name=_plain(title) or AN_ATTACHMENT))
        for action in self.objects(attachment.get("actions"), "a button of an attachment", depth):
            self._part(action.get("text"), depth)
        self.say(readable(text_in(attachment.get("footer"))))

    def files(self, value: object, depth: int) -> None:
        """Files that are shared in a message."""
        for file in self.objects(value, A_FILE, depth):
            self.file(file, depth)

    def file(self, file: Json, depth: int) -> None:
        """A file: its name, and as much of what is in it as the message has, unless it is to be fetched."""
        if file.get("mode") == "tombstone":
            self.miss("a file that was deleted")
            return
        name = name_of_file(file)
        for words in ("alt_txt", "subject"):
            if said := text_in(file.get(words)):
                self.say(f"{name}: {said}")
        for sender in self.objects(file.get("from"), "who sent an e-mail", depth + 1):
            self.say(f"{name}, from {text_in(sender.get('original')) or text_in(sender.get('address'))}")
        comment = file.get("initial_comment")
        self.say(readable(text_in(comment.get("comment"))) if isinstance(comment, dict) else "")
        text = next(
            (text for name in ("plain_text", "preview_plain_text", "preview") if (text := text_in(file.get(name)))), ""
        )
        is_cut = bool(file.get("preview_is_truncated") or file.get("lines_more")) and not file.get("plain_text")
        spoken = file.get("transcription")
        if self.takes_files and depth == 0 and is_sound(file) and _ID.fullmatch(id_ := _id_of(file)):
            self.take(self._sound(file, id_, name))
            return
        if not text and isinstance(spoken, dict) and isinstance(preview := spoken.get("preview"), dict):
            text, is_cut = text_in(preview.get("content")), bool(preview.get("has_more"))
            self.say(f"{name}, as Slack transcribed it:\n{text}" if text else "")
        elif self.takes_files and depth == 0 and not file.get("plain_text") and _ID.fullmatch(id_ := _id_of(file)):
            self.take({"id": id_, "name": name, "preview": self.masked(text, LONGEST_PREVIEW)})
            return
        else:
            self.say(f"{name}:\n{text}" if text else "")
        if not text:
            self.miss(name)
        elif is_cut:
            self.miss(Sentence("the rest of {name}", name=name))
        for attached in self.objects(file.get("attachments"), A_FILE, depth + 1):  # of an e-mail
            self.miss(_plain(text_in(attached.get("filename"))) or A_FILE)

    def _sound(self, file: Json, id_: str, name: str) -> SharedFile:
        taken: SharedFile = {
            "id": id_, "name": name, "is_voice": is_voice(file), "author": text_in(file.get("user")),
            "seconds": seconds_of(file),
        }  # fmt: skip
        said, is_all = transcript_of(file)
        if said:
            taken["heard" if is_all else "preview"] = self._masked_speech(said)[:LONGEST_PREVIEW]
        return taken


def is_sound(file: Json) -> bool:
    """Whether a file is a recording, as far as Slack says so. It calls some of its own clips films."""
    return is_voice(file) or text_in(file.get("mimetype")).startswith("audio/")


def is_voice(file: Json) -> bool:
    """Whether a file was recorded in Slack, to be said."""
    return file.get("subtype") == "slack_audio"


def seconds_of(file: Json) -> float:
    """How long a recording is; 0 where Slack does not say."""
    milliseconds = file.get("duration_ms")
    if not isinstance(milliseconds, int) or not 0 < milliseconds < 1_000_000_000:
        return 0.0
    return milliseconds / 1_000


def transcript_of(file: Json) -> tuple[str, bool]:
    """What Slack heard in a recording, and whether that is all."""
    spoken = file.get("transcription")
    preview = spoken.get("preview") if isinstance(spoken, dict) else None
    if not isinstance(spoken, dict) or not isinstance(preview, dict):
        return "", False
    said = text_in(preview.get("content"))
    is_all = spoken.get("status") == "complete" and not preview.get("has_more") and len(said) <= LONGEST_PREVIEW
    return said, is_all


def name_of_file(file: Json) -> str:
    """The name of a file, without what is markup: its title, and what it is called where that is something else."""
    title, name = (_plain(text_in(file.get(part))) for part in ("title", "name"))
    if title and name and title != name:
        return f"{title} ({name})"
    return title or name or A_FILE


def _id_of(file: Json) -> str:
    return text_in(file.get("id"))


def _plain(name: str) -> str:
    return plain_name(name, "*_`~<>|\n")


def _message_of(attachment: Json) -> str:
    """The message that is quoted, as `CHANNEL:TIMESTAMP`; empty where it is not told."""
    channel, ts = text_in(attachment.get("channel_id")), text_in(attachment.get("ts"))
    if _ID.fullmatch(channel) and _TIMESTAMP.fullmatch(ts):
        return f"{channel}:{ts}"
    found = _LINK_TO_A_MESSAGE.search(text_in(attachment.get("from_url"))[:1_000])
    return f"{found[1]}:{found[2]}.{found[3]}" if found else ""


# ── rich text ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _an_id(sign: str, name: str) -> Callable[[Json], str]:
    def read(part: Json) -> str:
        found = text_in(part.get(name))
        return f"<{sign}{found}>" if _ID.fullmatch(found) else _escaped(found)

    return read


def _a_text(*names: str, before: str = "") -> Callable[[Json], str]:
    """The first of these texts that is there."""

    def read(part: Json) -> str:
        found = next(_texts(part, names), "")
        return _escaped(before + found + before) if found else ""

    return read


def _texts(part: Json, names: tuple[str, ...]) -> Iterator[str]:
    return (text for name in names if (text := text_in(part.get(name))))


def _a_link(part: Json) -> str:
    texts = dict.fromkeys(text for name in ("text", "url") if (text := text_in(part.get(name))))
    first, *url = texts or [""]
    return _escaped(f"{first} ({url[0]})" if url else first)


_INLINE: dict[str, Callable[[Json], str]] = {
    "attachment_mention": _a_link,
    "broadcast": lambda part: _escaped(f"@{text_in(part.get('range'))}"),
    "canvas": _a_text("label", "file_id"),
    "canvas_message_unfurl": _a_link,
    "canvas_user_mention": _an_id("@", "user_id"),
    "channel": _an_id("#", "channel_id"),
    "color": _a_text("value"),
    "date": lambda part: _a_date(part),
    "emoji": _a_text("name", before=":"),
    "file": _a_text("label", "title", "file_id"),
    "link": _a_link,
    "team": _a_text("team_id"),
    "text": _a_text("text"),
    "user": _an_id("@", "user_id"),
    "usergroup": _an_id("!subteam^", "usergroup_id"),
}
_SPECIAL_BLOCKS: dict[str, Callable[[_Reader, Json, int], None]] = {
    "call": _Reader._call,
    "data_table": _Reader._table,
    "data_visualization": _Reader._chart,
    "file": _Reader._file_block,
    "image": _Reader._image,
    "rich_text": _Reader._rich_text,
    "table": _Reader._table,
    "video": _Reader._video,
}


def _moment(seconds: str) -> str:
    return as_moment(int(seconds)) if _SECONDS.fullmatch(seconds) else ""


def _a_date(part: Json) -> str:
    return _escaped(text_in(part.get("fallback")) or _moment(text_in(part.get("timestamp"))))


def _seen(markup: re.Match[str]) -> str:
    target, _, label = markup[1].partition("|")
    if target.startswith("@"):
        return f"<{target}>"
    if target.startswith("#"):
        return f"#{label}" if label else f"<{target}>"
    if target.startswith("!"):
        kind, _, about = target[1:].partition("^")
        if not label and kind == "subteam":
            return f"<{target}>"
        return label or (_moment(about.partition("^")[0]) if kind == "date" else "") or f"@{kind}"
    bare = target.removeprefix("mailto:").removeprefix("tel:")
    if not label or label == bare or bare.removeprefix("https://").removeprefix("http://").rstrip("/") == label:
        return bare
    return f"{label} ({bare})"
