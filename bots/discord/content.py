"""What a message on Discord says: its words, and what its embeds, components, files, poll and forwards show.

It is read from what Discord sends, since discord.py leaves out what it does not know. Sources: docs.discord.com on the
message resource, components and polls, and Discord's OpenAPI description.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bots.discord.words import named, readable
from bots.shared.content import LONGEST_CONTENT, LONGEST_NAME, NOTHING_TO_READ, Content, Mask, Quote, Reader, text_in
from core import Json, Sentence

DEFAULT, THREAD_STARTER, REPLY = 0, 21, 19
ACCEPTED_TYPES = (DEFAULT, REPLY)
SAID_TYPES = (*ACCEPTED_TYPES, 20, 23)  # and what apps say to commands
VOICE_MESSAGE = 1 << 13
ANSWERED_MESSAGE, AN_EMBED = "the message that this replies to", "an embed"

# What a message says by what it is, where nobody wrote it.
_DONE: dict[int, str] = {
    DEFAULT: "", REPLY: "", THREAD_STARTER: "", 20: "", 23: "",
    1: "added {}", 2: "removed {}", 3: "began a call", 4: "changed the name of the channel",
    5: "changed the picture of the channel", 6: "pinned a message", 7: "joined the server", 8: "boosted the server",
    **dict.fromkeys((9, 10, 11), "boosted the server to its next level"), 12: "follows the channel from here",
    14: "the server is no longer in Discovery", 15: "the server is in Discovery again",
    16: "the server may leave Discovery", 17: "the server is about to leave Discovery", 18: "opened a thread",
    22: "asks to invite others", 24: "AutoMod stopped a message", 25: "bought a role",
    26: "asks to buy what an app offers", 27: "began a stage", 28: "ended a stage", 29: "speaks on a stage",
    31: "changed the topic of a stage", 32: "bought an app for the server",
    36: "closed the server for newcomers", 37: "opened the server for newcomers", 38: "reported a raid",
    39: "reported a raid by mistake", 44: "bought something", 46: "a poll has ended", 55: "streams in high quality",
}  # fmt: skip
_BUTTON, _TEXT, _THUMBNAIL, _GALLERY, _FILE = 2, 10, 11, 12, 13
# What may hold words or other components, in the order in which people see it.
_COMPONENTS: dict[int, tuple[str, ...]] = {
    1: ("components",), _BUTTON: ("label", "url"), 3: ("placeholder", "options"), 4: ("label", "value", "placeholder"),
    **dict.fromkeys((5, 6, 7, 8), ("placeholder",)), 9: ("components", "accessory"), _TEXT: ("content",),
    _THUMBNAIL: ("description",), _GALLERY: ("items",), _FILE: (), 14: (), 17: ("components",),
    18: ("label", "description", "component"), 19: (), **dict.fromkeys((21, 22), ("options",)), 23: ("label",),
}  # fmt: skip
_SHOWN = {
    "the picture in {name}": "image", "the small picture in {name}": "thumbnail", "the video in {name}": "video",
}  # fmt: skip
_WITHOUT_A_TYPE = ("label", "description")  # an option, a picture

Names = Mapping[int, str]


def id_in(value: object) -> int | None:
    """An id, which Discord sends as a text."""
    if isinstance(value, str) and 0 < len(value) <= 20 and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def author_of(message: Json) -> int | None:
    """Who wrote it."""
    return id_in(_object(message, "author").get("id"))


def is_of_an_app(message: Json) -> bool:
    """Whether a bot or a webhook says it."""
    return bool(_object(message, "author").get("bot") or message.get("webhook_id"))


def ids_of_app(message: Json) -> set[int]:
    """By which ids the app that says it is known: those of the webhook, of the application, of the bot's account."""
    told = (message.get("webhook_id"), message.get("application_id"), _object(message, "author").get("id"))
    return {id_ for id_ in map(id_in, told) if id_}


def author_name_of(message: Json) -> str:
    """Who wrote it, as a model is told it: nobody else has the same."""
    author, name = _object(message, "author"), text_in(_object(message, "author").get("username"))
    shown = " ".join(_shown_name(author, _object(message, "member")).split())
    if is_of_an_app(message):
        return f"{shown or 'An app'} (app)"
    return shown if shown.casefold() == name.casefold() else f"{shown} ({name})"


def mentioned_in(message: Json) -> dict[int, str]:
    """The names of the people whom a message mentions, by their ids."""
    users = message.get("mentions")
    people = [each for each in users if isinstance(each, dict)] if isinstance(users, list) else []
    return {id_: _shown_name(each, _object(each, "member")) for each in people if (id_ := id_in(each.get("id")))}


def is_known_type(kind: object) -> bool:
    """Whether it is known what kind of message this is."""
    return isinstance(kind, int) and kind in _DONE


def is_reply(message: Json) -> bool:
    """Whether it replies to another message."""
    return message.get("type") == REPLY


def reference_of(message: Json) -> tuple[int, int] | None:
    """The channel and the id of the message that it replies to."""
    reference = _object(message, "message_reference")
    channel, id_ = (id_in(reference.get(name)) for name in ("channel_id", "message_id"))
    return (channel, id_) if is_reply(message) and channel and id_ else None


def answered_by(message: Json) -> Json | None:
    """The message that this one replies to; None where it replies to none, or Discord does not tell of it."""
    answered = message.get("referenced_message")
    return answered if isinstance(answered, dict) else None


def content_of(message: Json, bot: int, names: Names, masked: Mask = str, *, takes_files: bool = False) -> Content:
    """What a message says; what nobody wrote in it is `masked`. Nothing makes it fail.

    `names` are those of people, roles and channels that it does not tell itself. With `takes_files` its files, and
    those of what it forwards, are to be fetched.
    """
    reader = _Reader(masked, bot, names, takes_files=takes_files)
    return reader.content(reader.message(message, 0))


def quote_of(answered: Json | None, bot: int, names: Names, masked: Mask) -> Quote:
    """A message that another one replies to, as it is quoted; None is one that cannot be seen."""
    if answered is None:
        return Quote("", "", "", "", (ANSWERED_MESSAGE,))
    content = content_of({**answered, "referenced_message": None}, bot, names, masked)
    author, id_ = author_of(answered), id_in(answered.get("id"))
    unread = tuple(ANSWERED_MESSAGE if each == NOTHING_TO_READ else each for each in content.missed)
    # Words that are quoted were not said to us just now, so they are masked as well.
    text = masked(content.words) + ("\n" if content.words and content.shown else "") + content.shown
    text += "".join(f"\n{quote.text}" for quote in content.quotes)
    unread += tuple(each for quote in content.quotes for each in quote.unread)
    return Quote(str(id_ or ""), str(author or ""), masked(author_name_of(answered)), text.strip(), unread)


class _Reader(Reader):
    """Reads what Discord's messages are made of."""

    def __init__(self, masked: Mask, bot: int, names: Names, *, takes_files: bool = False) -> None:
        super().__init__(masked, takes_files=takes_files)
        self._forwards = False  # whether what is read is forwarded
        self._bot = bot
        self._names = names

    def _readable(self, value: object) -> str:
        return readable(text_in(value), self._bot, self._names)

    def message(self, message: Json, depth: int) -> str:
        """A message, of which the words are given and not taken down."""
        named_here = {id_: self.masked(name, LONGEST_NAME) for id_, name in mentioned_in(message).items()}
        before, self._names = self._names, {**self._names, **named_here}
        try:
            self._all_of_message(message, depth)
            return self._readable(message.get("content"))
        finally:
            self._names = before

    def _all_of_message(self, message: Json, depth: int) -> None:
        self._done(message)
        for embed in self.objects(message.get("embeds"), "an embed", depth):
            self._embed(embed, depth + 1)
        for component in self.objects(message.get("components"), "a component", depth):
            self._component(component, depth + 1)
        if message.get("poll") is not None:
            self._poll(_object(message, "poll"), depth + 1)
        files = [*self.objects(message.get("attachments"), "a file", depth)]
        for file in files:
            self._file(file, is_voice=_has(message, VOICE_MESSAGE) and len(files) == 1)
        for sticker in self.objects(message.get("sticker_items") or message.get("stickers"), "a sticker", depth):
            self.miss(Sentence("the sticker {name}", name=named(text_in(sticker.get("name")))))
        for name in ("activity", "shared_client_theme"):
            if message.get(name):
                offered = named(text_in(_object(message, "application").get("name")))
                invitation = Sentence("an invitation to {name}", name=offered)
                self.miss(invitation if name == "activity" else "a theme for Discord")
        self._role_subscription(message)
        self._quotes(message, depth + 1)

    def _done(self, message: Json) -> None:
        kind = message.get("type", DEFAULT)
        done = _DONE.get(kind) if isinstance(kind, int) else None
        if done is None:
            self.miss(Sentence("a message of the kind {kind}", kind=_number(kind)))
        elif done:
            self.say(f"({done.format(', '.join(mentioned_in(message).values()) or 'somebody')})")

    def _role_subscription(self, message: Json) -> None:
        bought = message.get("role_subscription_data")
        if isinstance(bought, dict):
            self.say(text_in(bought.get("tier_name")))

    def _quotes(self, message: Json, depth: int) -> None:
        """What it forwards or, where it only stands for the message that a thread was opened from, that message."""
        reference = _object(message, "message_reference")
        for snapshot in self.objects(message.get("message_snapshots"), "a forwarded message", depth):
            forwarded = _object(snapshot, "message")
            before, self._forwards = len(self.shared), True
            with self.apart() as apart:
                words = self.masked(self.message(forwarded, depth + 1), LONGEST_CONTENT)
            self._forwards = False
            id_ = id_in(reference.get("message_id"))
            files = ", ".join(file["name"] for file in self.shared[before:])
            text = "\n".join(part for part in (words, apart.text, f"(Attached: {files})" if files else "") if part)
            self.quotes += [Quote(str(id_ or ""), "", "", text, apart.unread), *apart.quotes]
        if message.get("type") == THREAD_STARTER and depth == 1:
            answered = answered_by(message)
            self.quotes.append(quote_of(answered, self._bot, self._names, self._masked))

    # ── embeds ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _embed(self, embed: Json, depth: int) -> None:
        with self.apart() as apart:
            self._all_of_embed(embed, depth)
        self.lines += apart.lines
        for what in apart.unread or (
            () if apart.lines else [Sentence("an embed of the kind {kind}", kind=_number(embed.get("type")))]
        ):
            self.miss(what)

    def _all_of_embed(self, embed: Json, depth: int) -> None:
        provider, author, footer = (_object(embed, name) for name in ("provider", "author", "footer"))
        for name in (provider.get("name"), author.get("name")):
            self.say(self._readable(name))
        title, link = self._readable(embed.get("title")), text_in(embed.get("url"))
        self.say(f"{title} ({link})" if title and link else title or link)
        self.say(self._readable(embed.get("description")))
        for field in self.objects(embed.get("fields"), "a field of an embed", depth):
            name, value = (self._readable(field.get(part)) for part in ("name", "value"))
            self.say(f"{name}: {value}" if name and value else name or value)
        self.say(self._readable(footer.get("text")))
        for what, name in _SHOWN.items():
            if embed.get(name):
                self.say(self._readable(_object(embed, name).get("description")))
                self.miss(what.format(name=named(title) if title else AN_EMBED))
        for component in self.objects(embed.get("components"), "a component", depth):
            self._component(component, depth + 1)

    # ── components ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _component(self, component: Json, depth: int) -> None:
        kind = component.get("type")
        names = _COMPONENTS.get(kind) if isinstance(kind, int) else None
        if names is None:
            self.miss(Sentence("a component of the kind {kind}", kind=_number(kind)))
            return
        if kind == _FILE:
            self.miss(named(text_in(component.get("name"))))
        elif kind == _THUMBNAIL:
            self.miss("a small picture")
        self._parts_of(component, names, depth)

    def _parts_of(self, component: Json, names: tuple[str, ...], depth: int) -> None:
        for name in names:
            value = component.get(name)
            for each in self.items(value if isinstance(value, list) else [value], "a component", depth):
                if not isinstance(each, dict):
                    if isinstance(each, list):
                        self.miss("a component")
                    self.say(self._readable(each))
                elif each.get("type") is not None:
                    self._component(each, depth + 1)
                else:
                    self._parts_of(each, _WITHOUT_A_TYPE, depth + 1)
                    if name == "items":
                        self.miss("a picture")

    # ── polls and files ──────────────────────────────────────────────────────────────────────────────────────────────

    def _poll(self, poll: Json, depth: int) -> None:
        question = self._readable(_object(poll, "question").get("text"))
        self.say(f"Poll: {question}")
        if not question:
            self.miss("the question of a poll")
        counts = self.objects(_object(poll, "results").get("answer_counts"), "the votes of a poll", depth)
        votes = {text_in(each.get("id")): text_in(each.get("count")) for each in counts}
        for answer in self.objects(poll.get("answers"), "an answer of a poll", depth):
            media, id_ = _object(answer, "poll_media"), text_in(answer.get("answer_id"))
            emoji = text_in(_object(media, "emoji").get("name"))
            text = " ".join(part for part in (emoji, self._readable(media.get("text"))) if part)
            self.say(f"{id_ or '-'}. {text}" + (f" ({votes[id_]} votes)" if votes.get(id_) else ""))
            if not text:
                self.miss("an answer of a poll")

    def _file(self, file: Json, *, is_voice: bool) -> None:
        title, file_name = text_in(file.get("title")), text_in(file.get("filename"))
        name = named(title or file_name)
        if title and file_name and named(file_name) != name:
            name = f"{name} ({named(file_name)})"
        if is_voice or file.get("waveform"):
            name = Sentence("a voice message")
        description = text_in(file.get("description"))
        self.say(f"{name}: {description}" if description else "")
        id_ = id_in(file.get("id"))
        if self.takes_files and id_:
            is_voice_message = bool(is_voice or file.get("waveform"))
            self.take({
                "id": str(id_), "name": name, "is_voice": is_voice_message, "is_forwarded": self._forwards
            })  # fmt: skip
        else:
            self.miss(name)


def _object(value: Json, name: str) -> Json:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _shown_name(user: Json, member: Json) -> str:
    names: Iterator[str] = map(text_in, (member.get("nick"), user.get("global_name"), user.get("username")))
    return next((name for name in names if name.strip()), "")


def _has(message: Json, flag: int) -> bool:
    flags = message.get("flags")
    return isinstance(flags, int) and bool(flags & flag)


def _number(kind: object) -> str:
    text = text_in(kind)[:20]
    return f"“{text}”" if text.replace("_", "").isalnum() else "that has no name"
