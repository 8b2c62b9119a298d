"""`bob sessions`: what is there for whoever runs Bob, told in the terminal and in files."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import click

from bots import SURFACES
from core import (
    EXPORT_FORMATS,
    NO_WORDS,
    Archive,
    Ending,
    Exchange,
    Filters,
    Format,
    HowToImport,
    ImportReport,
    ListedSession,
    Settings,
    StartError,
    UnknownSession,
    as_line,
    as_markdown,
    open_archive,
)
from web.terminal import visible

SECONDS_BETWEEN_SIGHTS_OF_PROGRESS = 0.5
SECONDS_BETWEEN_LINES_OF_PROGRESS = 10.0
STDOUT = Path("-")


class NothingExported(StartError):
    """Nothing was exported; the message says why."""


async def list_sessions(settings: Settings, filters: Filters, *, after: str | None, limit: int, as_json: bool) -> None:
    """Print the sessions that meet the filters, at most `limit` of them; 0: all. Raises UnknownSession."""
    async with open_archive(settings) as archive, contextlib.aclosing(archive.sessions(filters, after=after)) as found:
        shown, last = 0, ""
        async for each in found:
            if limit and shown == limit:
                click.echo(f"There are more: --after {visible(last)}", err=True)
                return
            shown, last = shown + 1, each.session.name
            click.echo(_session_as_json(each) if as_json else _session_in_a_line(each))


def _session_as_json(listed: ListedSession) -> str:
    known = listed.session
    return json.dumps({
        "session": known.name, "surface": known.surface, "turns": listed.turns, "assistant": known.assistant,
        "created_at": _time(known.created_at), "asked_at": listed.asked_at and _time(listed.asked_at),
    })  # fmt: skip


def _session_in_a_line(listed: ListedSession) -> str:
    asked = "" if listed.asked_at is None else _minute(listed.asked_at)
    assistant = f"  ({listed.session.assistant})" if listed.session.assistant else ""
    return f"{asked:16}  {listed.turns:>6,}  {visible(listed.session.name)}{visible(assistant)}"


async def show_session(settings: Settings, name: str, *, private: bool, last: int, as_json: bool) -> None:
    """Print the last turns of a session since it was reset. Raises UnknownSession."""
    async with open_archive(settings) as archive:
        listed = await archive.named(name)
        exchanges = await archive.transcript(name, private=private, last=last)
    if as_json:
        for each in exchanges:
            click.echo(json.dumps({**asdict(each), "asked_at": _time(each.asked_at)}))
        return
    begun = _minute(listed.session.created_at)
    click.echo(f"{visible(name)}: {listed.turns:,} turns since {begun} UTC")
    for each in exchanges:
        click.echo("\n" + "\n".join(map(visible, _exchange(each))))


def _exchange(exchange: Exchange) -> Iterator[str]:
    private = ", private" if exchange.private else ""
    outcome = exchange.outcome or "under way"
    yield f"── {exchange.number}. {_minute(exchange.asked_at)} UTC, {exchange.assistant}{private}, {outcome}"
    if exchange.turn_id is None:
        yield "(--private shows it)"
        return
    if exchange.question and exchange.question != NO_WORDS:
        yield "\n".join(f"> {line}" for line in exchange.question.splitlines())
    yield from (f"[{each.line}]" for each in exchange.attachments)
    if said := exchange.answer or exchange.error:
        yield said


async def export_sessions(
    settings: Settings, file: Path, filters: Filters, names: Sequence[str], *, private: bool, markdown: bool
) -> None:
    """Write sessions into a new file, which appears once it is whole, or to the standard output.

    Raises UnknownSession and NothingExported.
    """
    said = ""
    async with open_archive(settings) as archive:
        sessions = _named(archive, names) if names else archive.sessions(filters, newest_first=False)
        with _new_file(file) as out:
            lines = archive.exported(sessions, private=private)
            if markdown:
                async for text in as_markdown(lines):
                    out.write(text.encode())
            else:
                async for line in lines:
                    out.write(as_line(line))
                    if isinstance(line, Ending):
                        said = f"{file} holds {line.turns:,} turns of {line.sessions:,} sessions."
                        if line.left_out:
                            said += f" {line.left_out:,} private ones are not in it (--private)."
    if said:
        click.echo(said, err=True)


async def _named(archive: Archive, names: Sequence[str]) -> AsyncIterator[ListedSession]:
    for name in dict.fromkeys(names):
        yield await archive.named(name)


@contextlib.contextmanager
def _new_file(file: Path) -> Iterator[BinaryIO]:
    """A file that only its owner reads, and that is there once the block has ended well."""
    if file == STDOUT:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if file.exists():
        raise NothingExported(f"There is a file {file.name} already.")
    try:
        folder = tempfile.TemporaryDirectory(dir=file.parent, prefix=f".{file.name}-")
    except OSError as error:
        raise NothingExported(f"Nothing can be written there: {error.strerror}.") from None
    with folder as name:
        part = Path(name) / "part"
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.rename(file)


async def import_sessions(
    settings: Settings, file: Path, *, prefix: str, assistants: Sequence[str], bots: Sequence[str], workspace: str,
    dry: bool, as_json: bool,
) -> bool:  # fmt: skip
    """Import what is in a file or folder, tell what became of it, and whether all of it could be read.

    Raises CannotImport.
    """
    progress = _Progress()
    async with open_archive(settings) as archive:
        default = next((each for each in assistants if "=" not in each), "")
        of_ids = dict(each.split("=", 1) for each in assistants if "=" in each)
        chosen = {id_: archive.choice(name) for id_, name in of_ids.items()}
        otherwise = archive.choice(default)
        how = HowToImport(prefix, lambda id_: chosen.get(id_, otherwise), bots, workspace)
        try:
            report = await archive.import_from(file, how, formats=_formats(), dry=dry, on_progress=progress)
        except BaseException:
            progress.end()
            if (so_far := progress.report) is not None and not dry:
                click.echo(
                    f"{so_far.turns:,} turns are imported, and stay. The same command goes on from there.", err=True
                )
            raise
    progress.end()
    if as_json:
        click.echo(json.dumps(_report_as_json(report)))
    else:
        for line in _report(report, dry=dry):
            click.echo(visible(line))
    for each in report.told:
        click.echo(f"! {_in_a_line(each.where)}: {_in_a_line(each.why)}", err=True)
    if report.unreadable > len(report.told):
        click.echo(f"! and {report.unreadable - len(report.told):,} more that cannot be read", err=True)
    return not report.unreadable and report.is_whole


def _formats() -> Sequence[Format]:
    return [*EXPORT_FORMATS, *(each for surface in SURFACES for each in surface.export_formats())]


def _report(report: ImportReport, *, dry: bool) -> Iterator[str]:
    would = "Would import" if dry else "Imported"
    private = f", {report.private:,} of them private" if report.private else ""
    files = f", with {report.files:,} files" if report.files else ""
    yield f"{would} {report.turns:,} turns{private}{files}."
    yield (
        f"Sessions: {report.new:,} new, {report.continued:,} went on, {report.there:,} were there already, "
        f"{report.in_use:,} left alone."
    )
    if report.in_use:
        more = " …" if report.in_use > len(report.named) else ""
        yield f"Left alone, since something else was asked in them: {', '.join(report.named)}{more}"
    if report.left_out:
        yield f"Left out: {', '.join(f'{many:,} {what}' for what, many in sorted(report.left_out.items()))}."


def _report_as_json(report: ImportReport) -> dict[str, object]:
    told = [{"where": each.where, "why": each.why} for each in report.told]
    return {**asdict(report), "told": told}


class _Progress:
    """Shows on the standard error how far an import is: in one line of a terminal, else in one now and then."""

    def __init__(self) -> None:
        self.report: ImportReport | None = None
        self._is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._pause = SECONDS_BETWEEN_SIGHTS_OF_PROGRESS if self._is_terminal else SECONDS_BETWEEN_LINES_OF_PROGRESS
        self._began = self._shown_at = time.monotonic()

    def __call__(self, report: ImportReport) -> None:
        self.report = report
        now = time.monotonic()
        if now - self._shown_at >= self._pause:
            self._shown_at = now
            rate = report.turns / (now - self._began)
            line = f"{report.turns:,} turns of {report.sessions:,} sessions, {rate:,.0f} turns a second"
            click.echo(f"\r\x1b[K{line}" if self._is_terminal else line, nl=not self._is_terminal, err=True)

    def end(self) -> None:
        """Leave the line."""
        if self._is_terminal and self._shown_at != self._began:
            click.echo("\r\x1b[K", nl=False, err=True)


async def reset_sessions(settings: Settings, names: Sequence[str]) -> bool:
    """Begin sessions anew, and tell which there are not. Whether all were there."""
    async with open_archive(settings) as archive:
        return await _each(names, archive.reset, "begins anew")


async def delete_sessions(settings: Settings, names: Sequence[str]) -> bool:
    """Erase sessions, and tell which there are not. Whether all were there."""
    async with open_archive(settings) as archive:
        return await _each(names, archive.forget, "is erased")


async def _each(names: Sequence[str], work: Callable[[str], Awaitable[None]], done: str) -> bool:
    all_there = True
    for name in dict.fromkeys(names):
        try:
            await work(name)
        except UnknownSession:
            all_there = False
            click.echo(f"There is no session {visible(name)}.", err=True)
        else:
            click.echo(f"{visible(name)} {done}.")
    return all_there


def _in_a_line(text: str) -> str:
    return visible(" ".join(text.split()))


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def _minute(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
