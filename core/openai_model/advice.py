"""What an operator can do where the language model did not answer."""

from __future__ import annotations

from typing import NamedTuple

import aiohttp

from core.language_model import ModelTrouble, TroubleKind
from core.openai_model.errors import LEADS_ELSEWHERE
from core.openai_model.network import proxy_before
from core.settings import Settings


class Advice(NamedTuple):
    """A sentence on what is wrong, and one on what cures it. They hold no secret."""

    sentence: str
    cure: str

    def __str__(self) -> str:
        return f"{self.sentence} {self.cure}"


def advice_on(trouble: ModelTrouble, settings: Settings, model: str) -> Advice:
    """What is wrong with this server, key or model, and what cures it."""
    server = settings.model_server
    match trouble.kind:
        case TroubleKind.KEY_REFUSED:
            return _about_the_key(server, settings)
        case TroubleKind.MODEL_UNKNOWN:
            names = "ASSISTANTS_FILE" if settings.assistants_file is not None else "OPENAI_MODEL"
            return Advice(f"{server} has no model {model}, or not for this key.", f"Name another one in {names}.")
        case TroubleKind.OUT_OF_QUOTA | TroubleKind.OUT_OF_QUOTA_UNWRITTEN:
            return Advice(f"The account at {server} is used up.", "Add credit there, or raise its limit.")
        case TroubleKind.NOT_REACHED:
            reason, cure = _why_not_reached(trouble.__cause__, settings)
            return Advice(f"{server} cannot be reached: {reason}", cure)
        case TroubleKind.RATE_LIMITED:
            return Advice(f"{server} takes no more requests for now.", "Questions are tried again.")
        case TroubleKind.BROKE_OFF if isinstance(trouble.__cause__, aiohttp.ClientHttpProxyError):
            return Advice(f"The proxy refuses to lead to {server}.", _about_the_proxy(settings))
        case TroubleKind.NOT_UNDERSTOOD:
            return _about_the_answer(server, settings)
        case TroubleKind.BROKE_OFF if not trouble.cause.startswith("HTTP "):
            return _about_the_answer(server, settings)
        case TroubleKind.PATH_UNKNOWN if trouble.cause.endswith(LEADS_ELSEWHERE):
            cure = "Put that one, which may begin with https://, into OPENAI_BASE_URL."
            return Advice(f"{server} leads to another address.", cure)
        case TroubleKind.PATH_UNKNOWN:
            return _about_the_path(server, settings)
        case TroubleKind.REQUEST_REFUSED if trouble.cause.startswith(("HTTP 404", "HTTP 405")):
            return _about_the_path(server, settings)
        case TroubleKind.REQUEST_REFUSED:
            return Advice(
                f"{server} refuses what is asked of the model {model}.", "Try another one, or another server."
            )
    return Advice(f"{server} fails for now.", "Questions are tried again.")


def _about_the_key(server: str, settings: Settings) -> Advice:
    if "@" in settings.openai_base_url:
        return Advice(f"{server} refuses the user and the password.", "Correct them in OPENAI_BASE_URL.")
    if not settings.openai_api_key.get_secret_value():
        return Advice(f"{server} wants a key.", "Set OPENAI_API_KEY.")
    return Advice(f"{server} refuses the key.", "Put one of its own into OPENAI_API_KEY.")


def _about_the_answer(server: str, settings: Settings) -> Advice:
    return Advice(f"What answers at {server} does not do so as a language model does.", _about_the_url(settings))


def _about_the_path(server: str, settings: Settings) -> Advice:
    return Advice(f"{server} has no such path.", _about_the_url(settings))


def _about_the_url(settings: Settings) -> str:
    if settings.openai_base_url:
        return "See whether OPENAI_BASE_URL is right: mostly it ends in /v1."
    return "See whether a proxy or a firewall answers in its place."


def _about_the_proxy(settings: Settings) -> str:
    proxy = proxy_before(settings.openai_base_url or "https://api.openai.com")
    variable = proxy.variable if proxy is not None else "HTTPS_PROXY"
    return f"See whether {variable} is right; NO_PROXY names hosts that are reached without it."


def _why_not_reached(error: BaseException | None, settings: Settings) -> tuple[str, str]:
    """`error` is what the HTTP client said, or the SDK's error around it."""
    while error is not None and not isinstance(error, aiohttp.ClientError):
        error = error.__cause__
    match error:
        case aiohttp.ClientProxyConnectionError():
            return "its proxy does not answer.", _about_the_proxy(settings)
        case aiohttp.ClientConnectorDNSError():
            return "there is no such host.", "See whether OPENAI_BASE_URL and the network are right."
        case aiohttp.ClientConnectorCertificateError():
            return "its certificate is not trusted.", "SSL_CERT_FILE may name the authority that signed it."
        case aiohttp.ClientSSLError():
            return "it does not speak TLS.", "See whether OPENAI_BASE_URL has to begin with http://."
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "nobody listens there.", "Start it, or correct OPENAI_BASE_URL."
        case aiohttp.ClientConnectorError(os_error=ConnectionResetError()) if settings.openai_base_url[:6] == "https:":
            return "it hangs up at TLS.", "See whether OPENAI_BASE_URL has to begin with http://."
    return "it does not answer.", "See whether OPENAI_BASE_URL and the network are right."
