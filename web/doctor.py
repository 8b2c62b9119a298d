"""`bob doctor`: everything that a silent Bob can be silent for, what cures it, and what was not looked at."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from urllib.parse import urlsplit

import click

from bots import SURFACES
from bots.shared.surface import LoadedSurface, configured, load_surfaces
from core import (
    UNUSABLE,
    Check,
    Finding,
    Kind,
    News,
    NotChecked,
    Report,
    Settings,
    SettingsError,
    StartError,
    Surroundings,
    allowed_hosts,
    core_checks,
    examined,
    is_called,
    is_loopback,
    load_settings,
    unusable,
)
from web.hosts import STRANGE_HOST
from web.pages import ChatPage

UNREACHABLE = Kind("web.unreachable", "error")
CERTIFICATE = Kind("web.certificate", "error")
NOT_BEHIND = Kind("web.nobody-behind-proxy", "error")
NOT_BOB = Kind("web.not-bob", "error")
HOST_REFUSED = Kind("web.host-refused", "error")
HOST_NOT_PASSED_ON = Kind("web.host-not-passed-on", "error")
PROXY_UNTRUSTED = Kind("web.proxy-untrusted", "warning")
KINDS = (UNREACHABLE, CERTIFICATE, NOT_BEHIND, NOT_BOB, HOST_REFUSED, HOST_NOT_PASSED_ON, PROXY_UNTRUSTED)

EXIT_CODES = {"error": 2, "warning": 1, "info": 0, None: 0}
MARKS = {"error": ("✗", "red"), "warning": ("!", "yellow"), "info": ("·", "blue")}
MOST_SECONDS = 600.0
_MOST_BYTES = 100_000
_NOBODY_BEHIND = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)


# ── what is looked for ───────────────────────────────────────────────────────────────────────────────────────────────


def address_of(settings: Settings) -> str:
    """Where this Bob is reached, without a path: from outside where that is known, else on this machine."""
    if settings.public_url:
        return settings.public_url.rstrip("/")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def web_check(settings: Settings) -> Check:
    """Looks whether Bob is reached where PUBLIC_URL says."""
    silent = UNREACHABLE(
        f"{address_of(settings)} says nothing.", "See whether `bob run` runs, and what stands before it."
    )
    return Check("web", (UNUSABLE, *KINDS), partial(_of_web, settings), silent)


async def _of_web(settings: Settings, surroundings: Surroundings) -> Iterable[News]:
    try:
        ChatPage(settings)
    except StartError as error:
        return [unusable(error)]
    news = list(_findings_in_settings(settings)) if settings.public_url else []
    if surroundings.offline:
        return [*news, NotChecked("web", "offline")]
    is_refused = any(each.kind is HOST_REFUSED for each in news)
    if is_refused:
        return news
    return [*news, *await _reached(surroundings)]


def _findings_in_settings(settings: Settings) -> Iterable[Finding]:
    host = (urlsplit(settings.public_url).hostname or "").lower()
    if not any(_is_meant(host, each) for each in allowed_hosts(settings)):
        yield HOST_REFUSED(
            f"PUBLIC_URL names the host {host}, which Bob does not answer to.", f"Add {host} to ALLOWED_HOSTS."
        )
    if settings.public_url.startswith("https:") and not settings.trusted_proxies:
        yield PROXY_UNTRUSTED(
            "PUBLIC_URL leads through a proxy that TRUSTED_PROXIES does not name, so all who come through it are one.",
            "Set TRUSTED_PROXIES to its address (127.0.0.1 where it runs on this machine).",
        )


def _is_meant(host: str, allowed: str) -> bool:
    bare = allowed.strip("[]")
    return allowed == "*" or host == bare or (bare.startswith("*.") and host.endswith(bare[1:]))


async def _reached(surroundings: Surroundings) -> Iterable[News]:
    """Whether it is Bob who answers at our own address."""
    import aiohttp  # here, so that `bob run` starts without it

    where = surroundings.address
    try:
        async with (
            aiohttp.ClientSession(trust_env=surroundings.is_public) as session,
            session.get(f"{where}/healthz", allow_redirects=False) as response,
        ):
            text = (await response.content.read(_MOST_BYTES)).decode("utf-8", "replace")
    except aiohttp.ClientError as failure:
        if not surroundings.is_public:
            return [NotChecked("web", f"nobody answers at {where}: Bob does not run there")]
        return [_not_reached(where, failure)]
    if _says(text, "status") == "ok":
        return []
    if response.status == HTTPStatus.BAD_REQUEST and _says(text, "detail") == str(STRANGE_HOST):
        return [
            HOST_NOT_PASSED_ON(
                f"{where} leads to Bob, who is told another host name than that.",
                "Let the proxy pass Host on (nginx: proxy_set_header Host $host).",
            )
        ]  # fmt: skip
    if response.status in _NOBODY_BEHIND:
        cure = "Start Bob (`bob run`), or let the proxy lead to his HOST and PORT."
        return [NOT_BEHIND(f"What answers at {where} finds no Bob behind it (HTTP {response.status}).", cure)]
    return [
        NOT_BOB(
            f"What answers at {where} is not Bob (HTTP {response.status}).",
            "Correct PUBLIC_URL, or let what stands before Bob lead to him.",
        )
    ]  # fmt: skip


def _not_reached(where: str, failure: Exception) -> Finding:
    import aiohttp

    match failure:
        case aiohttp.ClientConnectorCertificateError():
            return CERTIFICATE(
                f"The certificate at {where} is not trusted.", "Renew it, or serve the whole chain of it."
            )
        case aiohttp.ClientSSLError():
            return CERTIFICATE(
                f"What answers at {where} does not speak TLS.", "Let a proxy with a certificate stand there."
            )
        case aiohttp.ClientConnectorDNSError():
            return UNREACHABLE(
                f"There is no host of the name in {where}.", "Correct PUBLIC_URL, or enter it in the DNS."
            )
    return UNREACHABLE(f"Nobody answers at {where}.", "Start Bob and the proxy before him, or correct PUBLIC_URL.")


def _says(text: str, name: str) -> str:
    try:
        told = json.loads(text)
    except ValueError:
        return ""
    return str(told.get(name)) if isinstance(told, dict) else ""


def check_stand_in(settings: Settings) -> None:
    """Come back unless the stand-in would be served to others. Raises SettingsError."""
    if settings.offline and not is_loopback(settings.host):
        raise SettingsError(
            "The offline stand-in is served on this machine only: set OPENAI_API_KEY (or OPENAI_BASE_URL), or leave "
            "HOST at 127.0.0.1."
        )


# ── all of it ────────────────────────────────────────────────────────────────────────────────────────────────────────


def report_on_this(surroundings: Surroundings, only: str = "") -> Report:
    """What is found with the settings of this process, without a secret.

    Raises click.BadParameter where nothing is called `only`.
    """
    findings: list[Finding] = []
    checks: list[Check] = []
    not_checked: list[NotChecked] = []
    surfaces: list[LoadedSurface] = []
    settings: Settings | None = None
    for each in SURFACES:
        try:
            surfaces += load_surfaces([each])
        except StartError as error:
            findings.append(unusable(error))
    try:
        settings = load_settings()
    except StartError as error:
        findings.append(unusable(error))
        not_checked += [NotChecked(what, "settings cannot be used") for what in ("database", "model", "web")]
    if settings is not None:
        try:
            check_stand_in(settings)
            configured(surfaces, settings)
        except StartError as error:
            findings.append(unusable(error))
        checks += [*core_checks(settings, [each.settings for each in SURFACES]), web_check(settings)]
        surroundings = _at(settings, surroundings)
    for loaded in surfaces:
        checks += loaded.checks
        if not loaded.is_configured:
            token = loaded.surface.token.upper()
            not_checked.append(NotChecked(loaded.surface.name, f"{token} is not set"))
    secrets = [secret for each in surfaces for secret in each.settings.secrets]
    secrets += settings.secrets if settings is not None else ()
    if only:
        checks = [each for each in checks if _finds(each, only)]
        not_checked = [each for each in not_checked if is_called(only, each.what) or is_called(each.what, only)]
        if not checks and not not_checked and not any(is_called(each.kind.id, only) for each in findings):
            raise click.BadParameter("there is no finding of that name; web/README.md lists them.", param_hint="--only")
    found = examined(checks, surroundings)
    together = Report.of(found.checked, [*findings, *found.findings], [*found.not_checked, *not_checked])
    return (together.only(only) if only else together).redacted(secrets)


def _finds(check: Check, name: str) -> bool:
    return any(is_called(each.id, name) for each in check.kinds)


def _at(settings: Settings, surroundings: Surroundings) -> Surroundings:
    return replace(surroundings, address=address_of(settings), is_public=bool(settings.public_url))


def as_text(report: Report) -> Iterable[str]:
    """What is shown of it on a terminal."""
    for finding in report.findings:
        mark, color = MARKS[finding.kind.severity]
        yield f"{click.style(mark, fg=color, bold=True)} {click.style(finding.kind.id, bold=True)}"
        yield f"    {finding.sentence}"
        yield f"    → {finding.cure}"
    if report.not_checked:
        yield f"Not checked: {'; '.join(f'{each.what} ({each.why})' for each in report.not_checked)}."
    looked_at = f"{', '.join(report.checked)}" or "nothing"
    yield f"Looked at: {looked_at}. {_summary(report)}"


def _summary(report: Report) -> str:
    severities: Sequence[str] = [each.kind.severity for each in report.findings]
    counts = [(severities.count("error"), "error"), (severities.count("warning"), "warning")]
    told = [f"{count} {what}{'s' if count > 1 else ''}" for count, what in counts if count]
    return f"{', '.join(told) or 'Nothing is wrong there'}."


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--lint", is_flag=True, help="Exit with 1 where there is a warning, and with 2 where there is an error.")
@click.option("--offline", is_flag=True, help="Look at nothing that needs the network.")
@click.option("--only", metavar="ID", default="", help="Look for this alone: slack, or slack.scopes-missing.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, MOST_SECONDS), default=Surroundings().seconds, show_default=True,
    help="How long each look may take; all are taken at once.",
)  # fmt: skip
def doctor(as_json: bool, lint: bool, offline: bool, only: str, seconds: float) -> None:
    """Look for whatever keeps Bob from being heard or from answering, and say what cures it. Nothing is changed."""
    logging.disable(logging.CRITICAL)  # what is wrong is said here, once
    report = report_on_this(Surroundings(offline=offline, seconds=seconds), only)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
    else:
        for line in as_text(report):
            click.echo(line)
    if lint:
        sys.exit(EXIT_CODES[report.worst])
