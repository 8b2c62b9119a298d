"""Settings, read from the environment and `.env` in `main` and nowhere else."""

from __future__ import annotations

import codecs
import ipaddress
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)  # fmt: skip

from core.attachments import FileLimits
from core.errors import StartError
from core.events import Kept
from core.forgetting import Retention
from core.password import SEED_PASSWORD
from core.store.database import check_database_url

PRIVATE_BOB_PASSWORD = "PRIVATE_BOB_PASSWORD"  # the variable that holds Private-Bob's password


class SettingsError(StartError):
    """A setting cannot be used; the message names it and does not hold its value."""


def _words(value: Any) -> Any:
    return [word for word in value.replace(",", " ").split() if word] if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]

MOST = 1_000_000_000  # of anything; larger numbers are more than clocks and databases can count
Count = Annotated[int, Field(ge=1, le=MOST)]
CountOrNone = Annotated[int, Field(ge=0, le=MOST)]
Seconds = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]

MOST_DAYS = 36_500.0
SHORTEST_IDENTITY_SECRET = 32  # RFC 7518, 3.2: of HS256 no less than its digest

_LIMITS = FileLimits()
_KEPT = Kept()
_LEASE_SECONDS = AliasChoices("lease_seconds", "hold_seconds")  # the latter is its former name

ENV_FILE = Path(".env")
_LABEL = r"[\w-]{1,63}"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


def _unwrapped(value: Any) -> Any:
    """A value without the blanks, line ends and quotes around it that secrets of Kubernetes or `env_file`s leave."""
    if not isinstance(value, str):
        return value
    bare = value.strip()
    while len(bare) > 1 and bare[0] in "\"'" and bare[0] == bare[-1]:
        bare = bare[1:-1].strip()
    return bare


def _check_url(value: str) -> str:
    if not value.isprintable() or " " in value:  # what urlsplit would leave out without a word
        raise ValueError("must be one URL without blanks or line ends in it")
    try:
        parts = urlsplit(value)
        is_usable = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        is_usable = False
    if value and (not is_usable or "://" in value.partition("://")[2].partition("?")[0]):
        raise ValueError("must be a URL like https://api.example/v1 or http://127.0.0.1:8080/v1")
    if "@" in value.partition("://")[2].partition("/")[2]:  # then what is before it is no host
        raise ValueError("must have special characters of its user and password percent-encoded (@ is %40)")
    if "#" in value or not f"{parts.path}{parts.query}".isascii():
        raise ValueError("must have special characters of its path percent-encoded (# is %23)")
    return value


def _check_key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]*", value.get_secret_value()):
        raise ValueError("must be one word of ASCII letters, digits and signs, without blanks or line ends in it")
    return value


def _check_name(value: str) -> str:
    if not value.isprintable():
        raise ValueError("must be one line without control characters")
    return value


Url = Annotated[str, BeforeValidator(_unwrapped), AfterValidator(_check_url)]
Key = Annotated[SecretStr, BeforeValidator(_unwrapped), AfterValidator(_check_key)]
Name = Annotated[str, BeforeValidator(_unwrapped), AfterValidator(_check_name)]


class SettingsModel(BaseSettings):
    """Some settings of the environment and `.env`. A surface reads its own with a model of its own.

    Names in the environment are the same in capitals. An empty value counts as not set, so an empty variable of the
    environment hides nothing in `.env`.
    """

    model_config = SettingsConfigDict(env_file=ENV_FILE, env_file_encoding="utf-8", extra="ignore", frozen=True)
    may_be_empty: ClassVar[Sequence[str]] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Where settings come from, what is said here first: arguments, the environment, `.env`."""
        for source in (env_settings, dotenv_settings):
            assert isinstance(source, EnvSettingsSource)
            source.env_vars = {
                name: value
                for name, value in source.env_vars.items()
                if (value and _unwrapped(value)) or name in cls.may_be_empty
            }
        return init_settings, env_settings, dotenv_settings

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must not be written anywhere: what is set as a secret, and passwords in addresses."""
        values: list[str] = []
        for _, value in self:
            if isinstance(value, SecretStr):
                values.append(value.get_secret_value())
            elif isinstance(value, str):
                values += _passwords_in(value)
        return tuple(value for value in values if value)


class Settings(SettingsModel):
    """What the core and the web surface need, in the order of `.env.example`."""

    # Empty, they switch unlocking off, and transcription.
    may_be_empty: ClassVar[Sequence[str]] = ("private_bob_password", "transcription_model")

    openai_api_key: Key = SecretStr("")
    openai_base_url: Url = ""
    openai_model: Name = ""
    openai_api: Literal["", "responses", "chat"] = ""
    openai_threads: Literal["", "conversations", "local"] = ""
    transcription_model: Name = "gpt-transcribe"
    database_url: SecretStr = SecretStr("sqlite:///bob.db")
    assistants_file: Path | None = None
    private_bob_password: SecretStr = SecretStr(SEED_PASSWORD)
    api_keys: SecretStr = SecretStr("")
    identity_secret: Key = SecretStr("")
    allow_anonymous: bool = False
    chat_page_key: str = ""
    chat_page_title: Name = ""
    chat_page_greeting: Name = ""
    chat_page_color: Annotated[str, Field(pattern=r"^(#[0-9a-fA-F]{6})?$")] = ""
    chat_page_logo: Path | None = None
    chat_page_assistant: Name = ""
    chat_page_questions: Name = ""
    chat_page_contact: Name = ""
    chat_page_texts: Name = ""
    max_requests_per_minute_of_a_key: CountOrNone | None = None
    max_requests_per_minute_of_an_address: CountOrNone | None = None
    max_turns_at_once_of_a_key: CountOrNone | None = None
    max_turns_at_once_of_an_address: CountOrNone | None = None
    cors_allow_origins: Words = ("*",)
    cors_allow_credentials: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    public_url: Url = ""
    trusted_proxies: Words = ()
    allowed_hosts: Words = ()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    traces: bool = False
    traces_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.02
    max_turns_at_once: Count = 1_000
    max_turns_at_once_of_a_person: Count = 20
    max_turns_waiting: Count = 100
    max_question_characters: Count = 32_000
    max_body_bytes: Annotated[int, Field(ge=1_000, le=MOST)] = 1_000_000
    max_files_of_a_turn: CountOrNone = _LIMITS.files
    max_file_bytes: Count = _LIMITS.of_a_file
    max_file_bytes_of_a_turn: Count = _LIMITS.of_a_turn
    max_file_bytes_of_a_session: Count = _LIMITS.of_a_session
    max_file_bytes_of_a_day: Annotated[int, Field(ge=1, le=1_000 * MOST)] = _LIMITS.of_a_day
    max_body_bytes_with_files: Annotated[int, Field(ge=1_000, le=MOST)] = 16_000_000
    retain_days: Words = ()
    turn_deadline_seconds: Annotated[Seconds, Field(gt=0)] = 300.0
    model_first_token_seconds: Annotated[Seconds, Field(gt=0)] = 120.0
    model_silence_seconds: Annotated[Seconds, Field(gt=0)] = 60.0
    lease_seconds: Annotated[Seconds, Field(ge=3, validation_alias=_LEASE_SECONDS)] = 14.0
    drain_seconds: Seconds = 25.0
    why_days: Annotated[Seconds, Field(le=MOST_DAYS)] = _KEPT.days
    why_events: Count = _KEPT.events
    why_all: bool = False

    @field_validator("openai_base_url")
    @classmethod
    def _is_what_paths_are_joined_to(cls, value: str) -> str:
        if urlsplit(value).path.rstrip("/").endswith(("/responses", "/completions", "/models")):
            raise ValueError("must end where the paths of the API begin, as in https://api.example/v1")
        return value

    @field_validator("identity_secret")
    @classmethod
    def _cannot_be_guessed(cls, value: SecretStr) -> SecretStr:
        if 0 < len(value.get_secret_value()) < SHORTEST_IDENTITY_SECRET:
            raise ValueError(f"must have {SHORTEST_IDENTITY_SECRET} characters at least")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                raise ValueError("must list addresses or networks") from None
        return value

    @field_validator("retain_days")
    @classmethod
    def _are_rules(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Retention.read(value)
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        hosts = tuple(map(_as_requests_name_it, value))
        if not all(each == "*" or _is_host(each.removeprefix("*.")) for each in hosts):
            raise ValueError("must list names of hosts without scheme and port, like bob.example or *.example.com")
        return hosts

    @property
    def offline(self) -> bool:
        """Whether there is no language model to talk to, so that the stand-in answers."""
        return not self.openai_api_key.get_secret_value() and not self.openai_base_url

    @property
    def model_server(self) -> str:
        """The host, with its port if that is named, where the language model is asked; no user and no password."""
        return urlsplit(self.openai_base_url).netloc.rpartition("@")[2] or "api.openai.com"

    @property
    def transcribes(self) -> bool:
        """Whether somebody is asked to transcribe recordings."""
        return bool(self.transcription_model) and not self.offline

    @property
    def retention(self) -> Retention:
        """For how long what was said is kept."""
        return Retention.read(self.retain_days)

    @property
    def file_limits(self) -> FileLimits:
        """How much is taken of files."""
        return FileLimits(
            self.max_files_of_a_turn, self.max_file_bytes, self.max_file_bytes_of_a_turn,
            self.max_file_bytes_of_a_session, self.max_file_bytes_of_a_day,
        )  # fmt: skip

    @property
    def kept_events(self) -> Kept:
        """For how long, and how many, events that are no turns are kept."""
        return Kept(self.why_days, self.why_events, self.why_all)

    @property
    def threads(self) -> Literal["conversations", "local"]:
        """Where threads live: at OpenAI by default, here by default with any other server."""
        if self.openai_base_url and self.openai_api == "chat":  # which knows no conversations
            return "local"
        return self.openai_threads or ("local" if self.openai_base_url else "conversations")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must not be written anywhere."""
        values = (
            self.openai_api_key.get_secret_value(), self.private_bob_password.get_secret_value(),
            self.identity_secret.get_secret_value(),
            *(entry.rpartition(":")[2] for entry in _words(self.api_keys.get_secret_value())),
            *_passwords_in(self.database_url.get_secret_value()), *_passwords_in(self.openai_base_url),
        )  # fmt: skip
        return tuple(value for value in values if value)


def _is_host(host: str) -> bool:
    """Whether a host can have this name, which may be an address; brackets around it count for nothing."""
    try:
        return bool(ipaddress.ip_address(host.strip("[]")))
    except ValueError:
        return _HOST_NAME.fullmatch(host) is not None


def _as_requests_name_it(host: str) -> str:
    return f"[{host}]".lower() if ":" in host and not host.startswith("[") else host.lower()


def _passwords_in(url: str) -> list[str]:
    """Every password in a URL, also in one that cannot be used, as it is written there and as it is meant."""
    credentials, _, rest = url.partition("://")[2].rpartition("@")
    options = [each.partition("=") for each in rest.partition("?")[2].split("&")]
    written = [credentials.partition(":")[2], *(value for name, _, value in options if "password" in name)]
    return [*written, *map(unquote, written)]


Read = TypeVar("Read", bound=SettingsModel)


def read_settings(model: type[Read]) -> Read:
    """The settings of this model in this process. Raises SettingsError with a sentence that holds no value."""
    try:
        return model(_env_file_encoding=env_file_encoding())
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}.") from None
    except (OSError, UnicodeError):
        raise SettingsError(".env cannot be read: it has to be a file of UTF-8 text.") from None


def problem_with(model: type[SettingsModel], name: str, value: str) -> str:
    """What is wrong with a value of a setting, in a sentence without it; empty where it can be used."""
    values: dict[str, Any] = {name: value}
    try:
        model(_env_file=None, **values)
    except ValidationError as error:
        for each in error.errors(include_input=False, include_url=False, include_context=False):
            if each["loc"][:1] == (name,):
                said = each["msg"].removeprefix("Value error, ")
                return f"It {said}." if said.startswith("must") else f"{said}."
    return ""


def env_file_encoding() -> str:
    """How `.env` is written: in UTF-8, or in UTF-16 as PowerShell's `>` does. Raises OSError, and SettingsError."""
    start = ENV_FILE.read_bytes() if ENV_FILE.is_file() else b""  # a pipe can be read only once
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if b"\0" in start:
        raise SettingsError(".env cannot be read: it has to be a file of UTF-8 text.")
    return "utf-8-sig"


def load_settings() -> Settings:
    """The settings of this process. Raises StartError with a sentence that holds no value."""
    settings = read_settings(Settings)
    check_database_url(settings.database_url.get_secret_value())
    return settings
