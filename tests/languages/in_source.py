"""The sentences of Bob's own that stand in the source, found by how they are written.

Whatever people are shown is a `Sentence`, and the type checker lets nothing else through where it is shown. So each
first argument of `Sentence(...)` is one. What cannot be read in a message is named where a message is read; and
commands on Discord are what their tree holds.
"""

from __future__ import annotations

import ast
import asyncio
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

from bots.discord.commands import DiscordCommands

ROOT = Path(__file__).parents[2]
FOLDERS = ("core", "bots", "web")
NAMES_UNREAD = ("miss", "objects", "items")  # methods that are given the name of what cannot be read
ELSEWHERE = ("core/languages",)  # where sentences are made of what was stored


def parts_of(template: str) -> set[str]:
    """The names of the parts in a template."""
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


@cache
def sources() -> dict[str, ast.Module]:
    """Every module, by its path."""
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in paths}


@cache
def constants() -> dict[str, str]:
    """Texts that have a name in some module."""
    found: dict[str, str] = {}
    for module in sources().values():
        for node in module.body:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    found.update(_named(target, node.value))
    return found


def _named(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for each, its in zip(target.elts, value.elts, strict=True):
            yield from _named(each, its)
    elif isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield target.id, value.value


def _text(node: ast.expr) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    return constants().get(node.id) if isinstance(node, ast.Name) else None


def _is_read_in(path: str) -> bool:
    """Whether messages are read there."""
    return path.startswith("bots/") and path.endswith("content.py")


@cache
def calls() -> list[tuple[str, ast.Call]]:
    """Each `Sentence(...)`, with the path of its module."""
    return [
        (path, node)
        for path, module in sources().items()
        if not path.startswith(ELSEWHERE)
        for node in ast.walk(module)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Sentence"
    ]


def template_of(call: ast.Call) -> str | None:
    """The English of a `Sentence(...)`; None where the source does not tell it."""
    return _text(call.args[0]) if len(call.args) == 1 else None


def sentences() -> set[str]:
    """The sentences, but for the empty one."""
    found = {template_of(call) for path, call in calls() if not _is_read_in(path)}
    return {each for each in found if each} | commands_on_discord()


def names() -> set[str]:
    """What is said of what cannot be read, where it has no name of its own."""
    found = {each for path, call in calls() if _is_read_in(path) and (each := template_of(call)) is not None}
    for path, module in sources().items():
        if not _is_read_in(path):
            continue
        for node in ast.walk(module):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.count("{") == 1:
                found |= {node.value} if parts_of_if_any(node.value) & {"name", "kind"} else set()
            if isinstance(node, ast.Call):
                found |= set(_names_in(node))
    shared = ("THE_REST", "MORE", "NOTHING_TO_READ", "NAMELESS_ATTACHMENT", "ANSWERED_MESSAGE", "AN_EMBED")
    return found | {constants()[name] for name in (*shared, "AN_ATTACHMENT")} | {"that has no name", "a file"}


def parts_of_if_any(text: str) -> set[str]:
    """The names of the parts, if the text is a template at all."""
    try:
        return parts_of(text)
    except ValueError:
        return set()


def _names_in(call: ast.Call) -> Iterator[str]:
    if isinstance(call.func, ast.Attribute) and call.func.attr in NAMES_UNREAD:
        given = call.args[:1] if call.func.attr == "miss" else call.args[1:2]
        for node in given:
            either = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
            yield from (text for each in either if (text := _text(each)) is not None)


@cache
def commands_on_discord() -> set[str]:
    """Names and descriptions of all commands, and of what they take."""
    return {text for _, text in commands_by_place()}


@cache
def commands_by_place() -> frozenset[tuple[app_commands.TranslationContextLocation, str]]:
    """What Discord shows of the commands, and where."""
    found: set[tuple[Any, str]] = set()

    class Noting(app_commands.Translator):
        async def translate(self, string: app_commands.locale_str, locale: discord.Locale, context: Any) -> str | None:
            found.add((context.location, string.message))
            return None

    class Nothing:
        accept = None

    async def look() -> None:
        nothing: Any = Nothing()
        client = discord.Client(intents=discord.Intents.none())
        tree = DiscordCommands(nothing, nothing, nothing, nothing, nothing).tree_for(client)
        for command in tree.get_commands(type=None):
            await command.get_translated_payload(tree, Noting())

    asyncio.run(look())
    return frozenset(found)
