"""What the bot may do in a server and in its channels, by the roles and overwrites that Discord tells.

The order is that of docs.discord.com/developers/topics/permissions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import discord

from core import Json

ALL = discord.Permissions.all().value
ADMINISTRATOR = discord.Permissions(administrator=True).value
VIEW = discord.Permissions(view_channel=True).value
SEND = discord.Permissions(send_messages=True).value
WITH_WORDS = discord.Permissions(  # of no use to who may write nothing
    send_tts_messages=True, mention_everyone=True, embed_links=True, attach_files=True
).value
OF_TEXT, OF_POSTS = (0, 5), (15, 16)  # kinds of channels: text and announcements; forums and media
_NOT_IN_FORUMS = discord.Permissions(send_messages=True, create_public_threads=True).value


def rights_in_server(guild: Json, member: Json) -> int:
    """What the bot may do where no channel says otherwise."""
    if guild.get("owner_id") == (member.get("user") or {}).get("id"):
        return ALL
    ours = {str(guild.get("id")), *map(str, member.get("roles") or ())}
    rights = 0
    for role in guild.get("roles") or ():
        if str(role.get("id")) in ours:
            rights |= int(role.get("permissions") or 0)
    return ALL if rights & ADMINISTRATOR else rights


def rights_in_channel(base: int, channel: Json, guild: Json, member: Json) -> int:
    """What the bot may do in a channel; nothing where it does not see it."""
    if base & ADMINISTRATOR:
        return ALL
    overwrites = {str(each.get("id")): each for each in channel.get("permission_overwrites") or ()}
    rights = _changed(base, [overwrites.get(str(guild.get("id")))])
    rights = _changed(rights, [overwrites.get(str(role)) for role in member.get("roles") or ()])
    rights = _changed(rights, [overwrites.get(str((member.get("user") or {}).get("id")))])
    if not rights & SEND:
        rights &= ~WITH_WORDS
    return rights if rights & VIEW else 0


def _changed(rights: int, overwrites: Iterable[Mapping[str, str] | None]) -> int:
    """The rights after overwrites of one rank, whose denials count before what they allow."""
    known = [each for each in overwrites if each is not None]
    for each in known:
        rights &= ~int(each.get("deny") or 0)
    for each in known:
        rights |= int(each.get("allow") or 0)
    return rights


def wanted_in(channel: Json, wanted: int) -> int:
    """Those of the wanted rights that count in a channel of its kind; none where Bob is not asked."""
    kind = channel.get("type")
    if kind in OF_TEXT:
        return wanted
    return wanted & ~_NOT_IN_FORUMS if kind in OF_POSTS else 0


def names_of(rights: int) -> Sequence[str]:
    """What rights are called in Discord's menus."""
    return [name.replace("_", " ").title() for name, is_given in discord.Permissions(rights) if is_given]
