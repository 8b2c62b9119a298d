"""What Bob may do in a server and in its channels is what Discord's own rules make of roles and overwrites."""

from __future__ import annotations

from typing import Any

import discord
from hypothesis import given
from hypothesis import strategies as st

from bots.discord.bot import PERMISSIONS
from bots.discord.rights import ALL, VIEW, names_of, rights_in_channel, rights_in_server, wanted_in
from tests.fakes.discord_world import BOT_USER, INVITED_WITH, LONG_AGO

GUILD, CHANNEL, ROLES = 1, 50, (2, 3)
STATE: Any = discord.Client(intents=discord.Intents(guilds=True))._connection
BITS = [1 << bit for bit in (3, 6, 10, 11, 14, 15, 16, 35, 38)]  # with the administrator's
some_rights = st.lists(st.sampled_from(BITS), max_size=6).map(lambda bits: sum(set(bits)))


def overwrite(id: int, kind: int, allowed: int, denied: int) -> dict[str, Any]:
    return {"id": str(id), "type": kind, "allow": str(allowed), "deny": str(denied)}


@given(
    everybody=some_rights,
    roles=st.tuples(some_rights, some_rights),
    ours=st.sets(st.sampled_from(ROLES)),
    is_owner=st.booleans(),
    overwritten=st.dictionaries(st.sampled_from([GUILD, *ROLES, BOT_USER]), st.tuples(some_rights, some_rights)),
)
def test_rights_are_those_that_discords_library_computes(
    everybody: int, roles: tuple[int, int], ours: set[int], is_owner: bool,
    overwritten: dict[int, tuple[int, int]],
) -> None:  # fmt: skip
    granted = {GUILD: everybody, **dict(zip(ROLES, roles, strict=True))}
    user = {"id": str(BOT_USER), "username": "bob", "discriminator": "0", "avatar": None, "bot": True}
    member: dict[str, Any] = {"user": user, "roles": [str(each) for each in ours], "joined_at": LONG_AGO, "flags": 0}
    channel: dict[str, Any] = {
        "id": str(CHANNEL), "type": 0, "name": "general", "position": 0, "permission_overwrites": [
            overwrite(id, 1 if id == BOT_USER else 0, *rights) for id, rights in overwritten.items()
        ],
    }  # fmt: skip
    guild: dict[str, Any] = {
        "id": str(GUILD), "name": "alpha", "owner_id": str(BOT_USER if is_owner else 9), "channels": [channel],
        "members": [member], "roles": [
            {"id": str(id), "name": f"r{id}", "permissions": str(rights), "position": id, "color": 0,
             "colors": {"primary_color": 0}, "hoist": False, "managed": False, "mentionable": False}
            for id, rights in granted.items()
        ],
    }  # fmt: skip
    theirs = discord.Guild(data=guild, state=STATE)  # type: ignore[arg-type]
    of_bot = discord.Member(data=member, guild=theirs, state=STATE)  # type: ignore[arg-type]
    of_channel = theirs.get_channel(CHANNEL)
    assert isinstance(of_channel, discord.TextChannel)
    expected = of_channel.permissions_for(of_bot).value
    found = rights_in_channel(rights_in_server(guild, member), channel, guild, member)
    assert found & PERMISSIONS == (expected & PERMISSIONS if expected & VIEW else 0)


def test_who_owns_a_server_may_do_all_there_and_who_has_no_role_nothing() -> None:
    nobody = {"user": {"id": str(BOT_USER)}, "roles": []}
    assert rights_in_server({"id": "1", "owner_id": str(BOT_USER), "roles": []}, nobody) == ALL
    assert rights_in_server({"id": "1", "owner_id": "9", "roles": []}, nobody) == 0


def test_what_bob_wants_is_what_he_is_invited_with_as_far_as_a_channel_knows_it() -> None:
    assert PERMISSIONS == INVITED_WITH
    assert wanted_in({"type": 0}, PERMISSIONS) == PERMISSIONS
    assert wanted_in({"type": 2}, PERMISSIONS) == 0
    assert "Send Messages" not in names_of(wanted_in({"type": 15}, PERMISSIONS))
    assert "Send Messages In Threads" in names_of(wanted_in({"type": 15}, PERMISSIONS))
