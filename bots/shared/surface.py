"""What a surface tells of itself to whoever serves it. `bots.SURFACES` lists all there are."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from pydantic import SecretStr

from core import Chat, Check, Format, Settings, SettingsError, SettingsModel, Surroundings, examine, read_settings

logger = logging.getLogger(__name__)

SECONDS_OF_A_CHECK_AT_A_START = 30.0

Model = TypeVar("Model", bound=SettingsModel)
OfModel = TypeVar("OfModel", bound=SettingsModel, contravariant=True)

HttpReply = tuple[int, Mapping[str, str], str | bytes]
"""A status, headers, and a body."""
HttpHandler = Callable[[Mapping[str, str], bytes], Awaitable[HttpReply]]
"""Takes in the headers, with names in small letters, and the body of a request; checks itself who sent it."""


class Open(Protocol[OfModel]):
    """Serves a surface for as long as the block lasts; where it has a path, by the handler that the block gets.

    It waits `drain_seconds` for running answers. Where a surface can be served no more the block goes on without it;
    but where it is served `alone`, SettingsError is raised.
    """

    def __call__(
        self, settings: OfModel, chat: Chat, *, drain_seconds: float, alone: bool
    ) -> AbstractAsyncContextManager[HttpHandler | None]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A message of a platform's, as somebody points to it.

    `message` is its id there, as `Chat.showing` knows it, and `said_at` is in seconds since 1970. `thread` is what the
    name of the session of its thread ends in, None where the link does not tell. `withheld` is what the platform would
    have told if it had withheld its event.
    """

    message: str
    said_at: float
    thread: str | None = None
    withheld: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SetupQuestion:
    """A setting that whoever sets up a surface is asked for."""

    setting: str
    asks: str
    """What it is and where to find it."""
    wrong: Callable[[str], str]
    """What is wrong with a value, in a sentence without it, as far as the value itself tells; else empty."""
    is_asked: Callable[[str], bool] = lambda _: True
    """Whether it is asked, given the public address of Bob or nothing."""


@dataclass(frozen=True, slots=True)
class Surface(Generic[Model]):
    """A platform where people meet Bob. To import its library is left to what `checks` does, and to `open`."""

    name: str
    settings: type[Model]
    """Its own settings, read from the environment. Secrets are SecretStr there, and then never logged."""
    token: str
    """The name of the setting that switches it on."""
    people: str
    """Who meets Bob there, for `… does not talk to your friends`."""
    alone_needs: str
    """The sentence where it cannot be served alone as it is configured."""
    shows: str
    """What it shows of Markdown, in a sentence to the language model."""
    banner: Callable[[Model], str]
    """What is said of it at the start."""
    path: Callable[[Model], str | None]
    """Where requests are delivered to it, or None: it connects by itself. Raises SettingsError where neither works."""
    checks: Callable[[Model], Sequence[Check]]
    """What is looked for that keeps it from hearing people or from answering them. Settings alone are looked at also
    where it is switched off; whatever needs the network is not."""
    open: Open[Model]
    message_at: Callable[[str], Link | None] = lambda _: None
    """The message that a link or an id of the platform's points to, if it is one."""
    if_unheard: Sequence[str] = ()
    """What its operator looks at where a message never reached us, in sentences."""
    questions: Sequence[SetupQuestion] = ()
    """What `bob init` asks whoever sets it up, in this order."""
    files: Callable[[str], Mapping[str, str]] = lambda _: {}
    """What `bob init` writes for it, by names, given the public address of Bob or nothing."""
    export_formats: Callable[[], Sequence[Format]] = tuple
    """Exports of what was said there, of which its conversations with a bot can be imported."""


@dataclass(frozen=True, slots=True)
class LoadedSurface:
    """A surface and its settings."""

    surface: Surface[Any]
    settings: SettingsModel

    @property
    def is_configured(self) -> bool:
        """Whether it is switched on."""
        token: SecretStr = getattr(self.settings, self.surface.token)
        return bool(token.get_secret_value())

    @property
    def path(self) -> str | None:
        """Where requests are delivered to it, or None: it connects by itself. Raises SettingsError."""
        return self.surface.path(self.settings)

    @property
    def banner(self) -> str:
        """What is said of it at the start."""
        return self.surface.banner(self.settings)

    @property
    def checks(self) -> Sequence[Check]:
        """What is looked for, as far as there is anything to look for."""
        checks = self.surface.checks(self.settings)
        return checks if self.is_configured else [each for each in checks if not each.needs_network]

    async def check(self) -> None:
        """Come back if it can be served, as far as can be known now, and log what else was found.

        Raises SettingsError.
        """
        at_start = [each for each in self.checks if each.at_start]
        report = await examine(at_start, Surroundings(seconds=SECONDS_OF_A_CHECK_AT_A_START))
        for finding in report.findings:
            if finding.kind.stops:
                raise SettingsError(str(finding))
            if finding.kind.severity != "info":
                logger.warning(finding)

    def open(
        self, chat: Chat, *, drain_seconds: float, alone: bool = False
    ) -> AbstractAsyncContextManager[HttpHandler | None]:
        """Serve it for as long as the block lasts, see Open; the models of its turns are told what it shows."""
        chat.note_what_is_shown(self.surface.name, self.surface.shows)
        return self.surface.open(self.settings, chat, drain_seconds=drain_seconds, alone=alone)


def load_surfaces(surfaces: Iterable[Surface[Any]]) -> Sequence[LoadedSurface]:
    """The surfaces with their settings in this process. Raises SettingsError where one of those cannot be used."""
    return [LoadedSurface(each, read_settings(each.settings)) for each in surfaces]


def all_secrets(settings: Settings, surfaces: Iterable[LoadedSurface]) -> Sequence[str]:
    """Every value that must not be written anywhere."""
    return [*settings.secrets, *(secret for each in surfaces for secret in each.settings.secrets)]


def configured(surfaces: Iterable[LoadedSurface], settings: Settings) -> Sequence[LoadedSurface]:
    """Those that are switched on. Raises SettingsError where no language model answers: then none is served."""
    found = [each for each in surfaces if each.is_configured]
    for each in found:
        if settings.offline:
            raise SettingsError(
                f"{each.surface.token.upper()} is set and no language model: set OPENAI_API_KEY or OPENAI_BASE_URL. "
                f"The offline stand-in does not talk to your {each.surface.people}."
            )
    return found
