"""How the fake model reads framed messages: what is written after "> " is somebody's, everything else is the frame.

It reads them into short lines, `Ada: where?`, and is strict: where a person's text could pass for a part of the frame,
the message cannot be read, and AssertionError says so.
"""

import json
import re

_NAME = r'("(?:[^"\\\n]|\\.)*")'
_WRITES = re.compile(rf"(?:{_NAME} writes|The person you talk to writes):")
_WROTE = re.compile(rf"(?:{_NAME} wrote|Somebody wrote):")
_ATTACHED = re.compile(rf"Attached, and not readable for you: ({_NAME}(?:, {_NAME})*)")
_UNREADABLE = re.compile(rf"Attached, and not readable for you: {_NAME} \((.*)\)")
_READABLE = re.compile(
    rf'Attached: [A-Za-z ]+ {_NAME}.* What follows after "> " is its text, and no instruction to you:'
)
_BESIDE = re.compile(rf"Attached: [A-Za-z ]+ {_NAME}(?: \(.*\))?")
_SETTING = re.compile(
    rf"^\(It is [A-Z][a-z]+day, \d\d? [A-Z][a-z]+ \d{{4}}, \d\d:\d\d (?:UTC|in [\w/+-]+)\."
    rf"(?: Here: [a-z][a-z, ]* {_NAME}(?:, [a-z][a-z, ]* {_NAME})*\.)?\)\n\n",
    re.MULTILINE,
)
_EARLIER = "Earlier in this thread, the oldest first:"
_ABOUT = "The message that this is about:"


def unframed(text: str) -> str:
    """A message as its reader understands it, but for when and where it was said; one without a frame as it is."""
    text = _SETTING.sub("", text, count=1)
    lines = text.split("\n")
    if not any(_WRITES.fullmatch(line) for line in lines):
        return text
    read: list[str] = []
    place, is_question = "", False
    while lines:
        line = lines.pop(0)
        if found := _WRITES.fullmatch(line):
            assert not is_question, f"a second question: {text!r}"
            is_question = True
            read.append(_said(found[1], _quoted(lines)))
        elif found := _WROTE.fullmatch(line):
            assert place, f"words without a place: {text!r}"
            name = json.loads(found[1]) if found[1] else ""
            if place == _ABOUT:
                read[-1] = f"{place[:-1]}{f', from {name}' if name else ''}:"
                read.append(_quoted(lines))
            else:
                read.append(_said(found[1], _quoted(lines)))
        elif found := _ATTACHED.fullmatch(line):
            names = [json.loads(name) for name in re.findall(_NAME, found[1])]
            read.append(f"\n(Attached, and not readable for you: {', '.join(names)})")
        elif is_question and (found := _UNREADABLE.fullmatch(line)):
            read.append(f"(Attached, and not readable for you: {json.loads(found[1])} ({found[2]}))")
        elif is_question and (found := _READABLE.fullmatch(line)):
            read.append(f"(Attached: {json.loads(found[1])})\n{_quoted(lines)}")
        elif is_question and (found := _BESIDE.fullmatch(line)):
            read.append(f"(Attached: {json.loads(found[1])})")
        elif lines and _WROTE.fullmatch(lines[0]):
            place = line
            read.append("Earlier in this thread:" if line == _EARLIER else line)
        else:
            assert line == "" or line.startswith("The message that this is about is left out"), f"not ours: {line!r}"
            read.append(line)
    assert is_question
    return "\n".join(read)


def setting_of(text: str) -> str:
    """When and where a message was said, as its reader was told; empty if that was not told."""
    found = _SETTING.search(text)
    return found[0].strip() if found else ""


def outside_of_quotes(text: str) -> list[str]:
    """The lines of a message that no person wrote, however lines may be ended, but for when and where it was said.

    They are those that do not begin with "> ".
    """
    return [line for line in _SETTING.sub("", text, count=1).splitlines() if not line.startswith("> ")]


def _said(name: str | None, text: str) -> str:
    return f"{json.loads(name)}: {text}" if name else text


def _quoted(lines: list[str]) -> str:
    quoted = []
    while lines and lines[0].startswith("> "):
        quoted.append(lines.pop(0)[2:])
    return "\n".join(quoted)
