"""Settings, read from the environment and `.env` in `main` and nowhere else."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.errors import StartError
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

_LONGEST_ID = 20  # of Discord's, in digits: they have 64 bits
_LABEL = r"[\w-]{1,63}"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?")


class Settings(BaseSettings):
    """Everything that can be set, in the order of `.env.example`.

    Names in the environment are the same in capitals. An empty value counts as not set, but for the password, where it
    switches unlocking off.
    """

    model_config = SettingsConfigDict(env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True)

    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: str = ""
    openai_threads: Literal["", "conversations", "local"] = ""
    database_url: SecretStr = SecretStr("sqlite:///bob.db")
    assistants_file: Path | None = None
    private_bob_password: SecretStr = SecretStr(SEED_PASSWORD)
    api_keys: SecretStr = SecretStr("")
    chat_page_key: str = ""
    max_requests_per_minute_of_a_key: CountOrNone | None = None
    max_requests_per_minute_of_an_address: CountOrNone | None = None
    max_turns_at_once_of_a_key: CountOrNone | None = None
    max_turns_at_once_of_an_address: CountOrNone | None = None
    cors_allow_origins: Words = ("*",)
    cors_allow_credentials: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    trusted_proxies: Words = ()
    allowed_hosts: Words = ()
    slack_bot_token: SecretStr = SecretStr("")
    slack_app_token: SecretStr = SecretStr("")
    slack_signing_secret: SecretStr = SecretStr("")
    slack_api_url: str = "https://slack.com/api/"
    slack_follow_ups: Literal["always", "mention"] = "always"
    slack_channels: Words = ()
    slack_people: Words = ()
    slack_strangers: bool = False
    discord_token: SecretStr = SecretStr("")
    discord_api_url: str = "https://discord.com/api/v10"
    discord_message_content: bool = False
    discord_free_channels: Words = ()
    discord_guilds: Words = ()
    discord_channels: Words = ()
    discord_roles: Words = ()
    discord_catch_up_seconds: Seconds = 3_600.0
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    max_turns_at_once: Count = 1_000
    max_turns_at_once_of_a_person: Count = 20
    max_turns_waiting: Count = 100
    max_question_characters: Count = 32_000
    max_body_bytes: Annotated[int, Field(ge=1_000, le=MOST)] = 1_000_000
    turn_deadline_seconds: Annotated[Seconds, Field(gt=0)] = 300.0
    model_silence_seconds: Annotated[Seconds, Field(gt=0)] = 60.0
    lease_seconds: Annotated[Seconds, Field(ge=3)] = 14.0
    drain_seconds: Seconds = 25.0

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: Any, info: Any) -> Any:
        if value == "" and info.field_name != "private_bob_password":
            return cls.model_fields[info.field_name].get_default()
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @field_validator("discord_free_channels", "discord_guilds", "discord_channels", "discord_roles")
    @classmethod
    def _are_ids(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(each.isascii() and each.isdecimal() and len(each) <= _LONGEST_ID for each in value):
            raise ValueError("must list ids, which are numbers (Developer Mode shows them in Discord's menus)")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            try:
                ipaddress.ip_network(network, strict=False)
            except ValueError:
                raise ValueError("must list addresses or networks") from None
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        hosts = tuple(map(_as_requests_name_it, value))
        if not all(each == "*" or _is_host(each.removeprefix("*.")) for each in hosts):
            raise ValueError("must list names of hosts without scheme and port, like bob.example or *.example.com")
        return hosts

    @field_validator("openai_base_url", "slack_api_url", "discord_api_url")
    @classmethod
    def _is_url(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            is_usable = parts.scheme in ("http", "https") and _is_host(parts.hostname or "") and parts.port != 0
        except ValueError:
            is_usable = False
        if value and not is_usable:
            raise ValueError("must be a URL like https://api.example/v1 or http://127.0.0.1:8080/v1")
        if "@" in value.partition("://")[2].partition("/")[2]:  # then what is before it is no host
            raise ValueError("must have special characters of its user and password percent-encoded (@ is %40)")
        return value

    @property
    def slack(self) -> Literal["", "socket", "http"]:
        """How Slack reaches us, if at all. Raises SettingsError where it cannot."""
        if not self.slack_bot_token.get_secret_value():
            return ""
        if self.offline:
            raise SettingsError(
                "SLACK_BOT_TOKEN is set and no language model: set OPENAI_API_KEY or OPENAI_BASE_URL. The offline "
                "stand-in does not talk to your colleagues."
            )
        if self.slack_app_token.get_secret_value():
            return "socket"
        if self.slack_signing_secret.get_secret_value():
            return "http"
        raise SettingsError(
            "SLACK_BOT_TOKEN needs SLACK_APP_TOKEN (Socket Mode) or SLACK_SIGNING_SECRET (HTTP) beside it."
        )

    @property
    def discord(self) -> bool:
        """Whether Discord is served. Raises SettingsError where it cannot be."""
        if self.discord_token.get_secret_value() and self.offline:
            raise SettingsError(
                "DISCORD_TOKEN is set and no language model: set OPENAI_API_KEY or OPENAI_BASE_URL. The offline "
                "stand-in does not talk to your friends."
            )
        return bool(self.discord_token.get_secret_value())

    @property
    def offline(self) -> bool:
        """Whether there is no language model to talk to, so that the stand-in answers."""
        return not self.openai_api_key.get_secret_value() and not self.openai_base_url

    @property
    def threads(self) -> Literal["conversations", "local"]:
        """Where threads live: at OpenAI by default, here by default with any other server."""
        return self.openai_threads or ("local" if self.openai_base_url else "conversations")

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every value that must not be written anywhere."""
        values = [
            self.openai_api_key.get_secret_value(), self.private_bob_password.get_secret_value(),
            self.slack_bot_token.get_secret_value(), self.slack_app_token.get_secret_value(),
            self.slack_signing_secret.get_secret_value(), self.discord_token.get_secret_value(),
            *(entry.rpartition(":")[2] for entry in _words(self.api_keys.get_secret_value())),
        ]  # fmt: skip
        for url in (
            self.database_url.get_secret_value(), self.openai_base_url, self.slack_api_url, self.discord_api_url
        ):  # fmt: skip
            values += _passwords_in(url)
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


def load_settings() -> Settings:
    """The settings of this process. Raises StartError with a sentence that holds no value."""
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = ".".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(f"{name}: {first['msg'].removeprefix('Value error, ')}.") from None
    except (OSError, UnicodeError):
        raise SettingsError(".env cannot be read: it has to be a file of UTF-8 text.") from None
    check_database_url(settings.database_url.get_secret_value())
    return settings
