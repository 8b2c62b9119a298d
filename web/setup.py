"""`bob init`: asks what Bob has to know, checks each answer at once, and writes `.env` and what platforms want to have.

Nothing is asked of the network, and nothing that was there is lost: a file that is replaced is kept beside the new one.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from dotenv import dotenv_values

from bots import SURFACES
from bots.shared.surface import SetupQuestion, Surface
from core import ENV_FILE, SEED_PASSWORD, Settings, StartError, env_file_encoding, generated_password, problem_with

TEMPLATES = (Path(__file__).with_name(".env.example"), Path(__file__).parents[1] / ".env.example")
_LINE = re.compile(r"(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)")
_PLAIN = re.compile(r"[\w./:@%+,=?&~*-]*", re.ASCII)
_NO_SECRETS = ("OPENAI_BASE_URL", "OPENAI_MODEL", "PUBLIC_URL")

Wrong = Callable[[str], str]


def _wrong_key(value: str) -> str:
    if value.startswith(("http://", "https://")):
        return "This is an address. Leave the key empty, and the address is asked for next."
    if value.startswith(("xox", "xapp-")):
        return "This is a token of Slack's."
    return problem_with(Settings, "openai_api_key", value)


def _wrong_public_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme != "https" or parts.path.strip("/") or parts.query:
        return "It must begin with https:// and end with the host, as in https://bob.example."
    return problem_with(Settings, "public_url", value)


def _wrong_for(surface: Surface[Any], question: SetupQuestion) -> Wrong:
    return lambda value: question.wrong(value) or problem_with(surface.settings, question.setting, value)


# What is wrong with a value, by the settings that are asked for.
WRONG: Mapping[str, Wrong] = {
    "openai_api_key": _wrong_key,
    "openai_base_url": lambda value: problem_with(Settings, "openai_base_url", value),
    "openai_model": lambda value: problem_with(Settings, "openai_model", value),
    "public_url": _wrong_public_url,
    **{question.setting: _wrong_for(surface, question) for surface in SURFACES for question in surface.questions},
}


class Talk:
    """What is asked, and what is answered: by options of the command, by a person, or by what stands in `.env`.

    Raises click.BadParameter for an option that is wrong.
    """

    def __init__(self, options: Mapping[str, str | None], before: Mapping[str, str], *, asks: bool) -> None:
        for setting, value in options.items():
            if value and (problem := WRONG[setting](value)):
                raise click.BadParameter(problem, param_hint=f"--{setting.replace('_', '-')}")
        self._options = options
        self._before = before
        self._asks = asks
        self.values: dict[str, str] = {}

    def given(self, setting: str) -> str:
        """The value that an option has for this setting, or nothing."""
        return self._options.get(setting) or ""

    def known(self, name: str) -> str:
        """What an option says that a setting is, or else what it was."""
        option = self._options.get(name.lower())
        return self._before.get(name, "") if option is None else option

    def keep(self, name: str) -> None:
        """Let a setting be what is known of it."""
        self.values[name] = self.known(name)

    def ask(self, name: str, text: str) -> str:
        """The value of a setting, with nothing wrong in it."""
        if self._asks and self._options.get(name.lower()) is None:
            self.values[name] = self._asked(name, text, self._before.get(name, ""), WRONG[name.lower()])
        else:
            self.keep(name)
        return self.values[name]

    def _asked(self, name: str, text: str, given: str, wrong: Wrong) -> str:
        is_shown = name in _NO_SECRETS
        kept = given if is_shown else "what is set"
        hint = f" [Enter: {kept}; -: none]" if given else " [Enter: none]"
        while True:
            value: str = click.prompt(f"{text}{hint}", default="", show_default=False, hide_input=not is_shown)
            value = "" if value.strip() == "-" else value.strip() or given
            if not value or not (problem := wrong(value)):
                return value
            click.echo(f"  {problem}")


def _options(command: Callable[..., None]) -> Callable[..., None]:
    """An option for each setting that is asked for, which may come from the environment as well."""
    for name in reversed(list(WRONG)):
        command = click.option(
            f"--{name.replace('_', '-')}", name, envvar=name.upper(), show_envvar=True, metavar="VALUE",
            help=f"{name.upper()} in .env; empty: not set.",
        )(command)  # fmt: skip
    return command


@click.command()
@click.option(
    "--surface", "surfaces", multiple=True, type=click.Choice([each.name for each in SURFACES]),
    help="Where people meet Bob, besides the web; may be repeated.",
)  # fmt: skip
@_options
@click.option("--yes", is_flag=True, help="Ask nothing: take what is given here, or is in .env, and replace files.")
def init(surfaces: tuple[str, ...], yes: bool, **options: str | None) -> None:
    """Write .env, and what a platform wants to have of Bob, by the answers to five questions.

    What is given as an option is not asked. A file that is replaced is kept beside the new one.
    """
    is_anything_given = bool(surfaces) or any(value is not None for value in options.values())
    asks = not yes and sys.stdin.isatty()
    if not (asks or yes or is_anything_given):
        raise click.UsageError("There is no terminal to ask on, and nothing is given: see bob init --help.")
    before = _before()
    _check_may_replace(ENV_FILE, yes=yes, asks=asks)
    talk = Talk(options, before, asks=asks)
    chosen = _chosen(surfaces, talk, asks=asks)
    for surface in SURFACES:
        if surface not in chosen:
            talk.values[surface.token.upper()] = ""
    _ask_of_model(talk)
    public_url = talk.ask("PUBLIC_URL", "3. The address that people reach Bob by from outside, https://…").rstrip("/")
    talk.values |= {"PUBLIC_URL": public_url, **_behind_proxy(public_url, before)}
    for number, surface in enumerate(chosen, 4):
        _set_up(surface, public_url, talk, number, yes=yes, asks=asks)
    if before.get("PRIVATE_BOB_PASSWORD", SEED_PASSWORD) == SEED_PASSWORD:
        talk.values["PRIVATE_BOB_PASSWORD"] = generated_password()
    _write(ENV_FILE, env_file({**before, **talk.values}))
    for line in _what_is_next(talk.values, chosen):
        click.echo(line)


def _before() -> Mapping[str, str]:
    try:
        found = dotenv_values(ENV_FILE, encoding=env_file_encoding(), interpolate=False)
    except (OSError, UnicodeError, StartError) as error:
        raise click.ClickException(".env is there and cannot be read: move it away.") from error
    return {name: value for name, value in found.items() if value is not None}


def _chosen(given: Sequence[str], talk: Talk, *, asks: bool) -> Sequence[Surface[Any]]:
    """The surfaces that are set up: those that are chosen, else that are given, or that anything has a value for."""
    has_value = {
        each.name for each in SURFACES
        if any(talk.known(question.setting.upper()) for question in each.questions)
    }  # fmt: skip
    if given or not asks:
        return [each for each in SURFACES if each.name in has_value | {*given}]
    names = [each.name for each in SURFACES]
    default = " ".join(name for name in names if name in has_value)

    def wrong(answer: str) -> str:
        strange = [each for each in answer.lower().replace(",", " ").split() if each not in names]
        return f"Bob knows {' and '.join(names)}." if strange and answer != "none" else ""

    hint = f" [{default or 'none'}]"
    while True:
        answer = click.prompt(
            f"1. Where shall people meet Bob, besides the web? {' '.join(names)}, or none{hint}",
            default=default or "none", show_default=False,
        )  # fmt: skip
        if not (problem := wrong(answer)):
            wanted = answer.lower().replace(",", " ").split()
            return [each for each in SURFACES if each.name in wanted]
        click.echo(f"  {problem}")


def _ask_of_model(talk: Talk) -> None:
    """A key of OpenAI's, or another server and its model; without both the stand-in answers."""
    key = talk.ask("OPENAI_API_KEY", "2. The key at OpenAI, or of another server with its API")
    if key.startswith("sk-") and not talk.known("OPENAI_BASE_URL"):
        talk.keep("OPENAI_MODEL")
        return
    if talk.ask("OPENAI_BASE_URL", "   The address of that server, like http://localhost:11434/v1; none: OpenAI"):
        talk.ask("OPENAI_MODEL", "   The model there")


def _behind_proxy(public_url: str, before: Mapping[str, str]) -> Mapping[str, str]:
    """What goes with an address from outside: Bob listens on this machine, and a proxy on it has the certificate."""
    if not public_url:
        return {}
    host = urlsplit(public_url).hostname or ""
    allowed = before.get("ALLOWED_HOSTS", "")
    hosts = allowed if host in allowed.split() or "*" in allowed else f"{allowed} {host} localhost 127.0.0.1".strip()
    return {"ALLOWED_HOSTS": hosts, "TRUSTED_PROXIES": before.get("TRUSTED_PROXIES") or "127.0.0.1"}


def _set_up(surface: Surface[Any], public_url: str, talk: Talk, number: int, *, yes: bool, asks: bool) -> None:
    for name, content in surface.files(public_url).items():
        file = Path(name)
        if not file.is_file() or file.read_text(encoding="utf-8") != content:
            _check_may_replace(file, yes=yes, asks=asks)
            _write(file, content)
        click.echo(f"{number}. {surface.name.capitalize()}: make the app from {name}, and install it.")
    for question in surface.questions:
        if question.is_asked(public_url):
            talk.ask(question.setting.upper(), f"{number}. {question.asks}")
        else:  # else two ways to be delivered to were set up
            talk.values[question.setting.upper()] = talk.given(question.setting)


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def env_file(values: Mapping[str, str]) -> str:
    """The content of `.env` with these values and all comments of `.env.example`; what it does not know comes last.

    Raises click.ClickException for a value that cannot be written there.
    """
    template = next(path for path in TEMPLATES if path.is_file()).read_text(encoding="utf-8")
    left = dict(values)
    text = "\n".join(_filled(template.splitlines()[1:], left)).strip() + "\n"
    if left:
        text += "\n# What was set before, and is no setting.\n" + "".join(
            f"{name}={_quoted(value)}\n" for name, value in left.items()
        )
    read = dotenv_values(stream=io.StringIO(text), interpolate=False)
    for name, value in values.items():
        if read.get(name) != value:
            raise click.ClickException(f"The value of {name} cannot be written into .env: set it in the environment.")
    return text


def _filled(lines: Sequence[str], values: dict[str, str]) -> Iterator[str]:
    """The lines of a template with values in them, which are taken away from `values`."""
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or match["name"] not in values:
            yield line
        else:
            yield f"{match['name']}={_quoted(values.pop(match['name']))}"


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _check_may_replace(file: Path, *, yes: bool, asks: bool) -> None:
    """Come back if a file may be replaced. Raises click.Abort, and click.UsageError where nobody can be asked."""
    if not file.exists() or yes:
        return
    if not asks:
        raise click.UsageError(f"There is a file {file} already: --yes replaces it, and keeps it beside the new one.")
    click.confirm(f"There is a file {file} already. Replace it, and keep it beside the new one?", abort=True)


def _write(file: Path, content: str) -> None:
    """Write a file that only its owner reads, all or nothing; what was there is kept under another name."""
    target = file.resolve()
    if target.exists():
        number, kept = tempfile.mkstemp(prefix=f"{target.name}.{time.strftime('%Y%m%d')}-", dir=target.parent)
        os.close(number)
        shutil.copyfile(target, kept)
        click.echo(f"{file} was there; it is kept as {Path(kept).name}.")
    part = target.with_name(f"{target.name}.part")
    part.unlink(missing_ok=True)
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as writing:
        writing.write(content)
        writing.flush()
        os.fsync(writing.fileno())
    part.replace(target)
    click.echo(f"Wrote {file}.")


def _what_is_next(values: Mapping[str, str], chosen: Sequence[Surface[Any]]) -> Iterator[str]:
    if "PRIVATE_BOB_PASSWORD" in values:
        yield "The password of Private-Bob was made anew; it stands in .env."
    public_url = values.get("PUBLIC_URL", "")
    lacking = [
        surface.name for surface in chosen
        if not all(values.get(each.setting.upper()) for each in surface.questions if each.is_asked(public_url))
    ]  # fmt: skip
    if lacking:
        yield f"Not served yet, for want of tokens: {' and '.join(lacking)}. `bob init` asks for them again."
    if public_url:
        yield "Next: `bob keys new NAME` closes the API to strangers."
    yield "Then: `bob doctor`, and `bob run`."
