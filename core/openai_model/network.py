"""The way to a server: its address, who we say we are there, the proxy before it and the certificates it is known by.

All of it is read once, so that a request costs no look at files or variables, and `~/.netrc` never says who we are.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import ipaddress
import os
import re
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler

from core.errors import StartError

DEFAULT_PORTS = {"http": 80, "https": 443}
MOST_BYTES_OF_A_HEADER, MOST_HEADERS = 65_536, 512  # gateways add their own, some of them long
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class Address:
    """Where the paths of an API begin, without what else may stand in a base URL.

    `query` belongs to every request (Azure's `api-version`). `authorization` is the header that a user and a password
    in the URL stand for, or empty.
    """

    base_url: str
    query: str
    authorization: str

    @classmethod
    def of(cls, url: str) -> Address:
        """The address in a base URL."""
        parts = urlsplit(url)
        credentials, _, host = parts.netloc.rpartition("@")
        bare = parts._replace(netloc=host, path=parts.path.rstrip("/"), query="", fragment="").geturl()
        basic = f"Basic {b64encode(unquote(credentials).encode()).decode()}" if credentials else ""
        return cls(bare, parts.query, basic)

    def url(self, path: str) -> str:
        """The whole URL of a path of the API, like `/responses`."""
        return f"{self.base_url}{path}" + (f"?{self.query}" if self.query else "")

    @property
    def parameters(self) -> Mapping[str, str]:
        """The query, by names."""
        return dict(parse_qsl(self.query, keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, by its URL, and the variable that names it."""

    url: str
    variable: str

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS."""
        return self.url.startswith("socks")


def proxy_before(url: str) -> Proxy | None:
    """The proxy that the environment, or the system where it has such settings, names for `url`, as curl reads them.

    Raises StartError for one that cannot be used.
    """
    parts = urlsplit(url)
    proxies = getproxies()
    scheme = next((each for each in (parts.scheme, "all") if proxies.get(each)), None)
    if scheme is None or _goes_without(parts, proxies.get("no", "")):
        return None
    variable, named = f"{scheme.upper()}_PROXY", proxies[scheme].strip()
    proxy = Proxy(named if "://" in named else f"http://{named}", variable)
    try:
        of_proxy = urlsplit(proxy.url)
        is_usable = bool(of_proxy.hostname) and of_proxy.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or of_proxy.scheme not in ("http", "https", "socks4", "socks4a", "socks5", "socks5h"):
        raise StartError(f"{variable} names no proxy: it has to be a URL like http://proxy.example:3128.")
    if proxy.is_socks:
        _socks(proxy)
    return proxy


def _goes_without(target: SplitResult, no_proxy: str) -> bool:
    host, port = target.hostname or "", target.port or DEFAULT_PORTS[target.scheme]
    entries = [each for each in re.split(r"[,\s]+", no_proxy.lower()) if each]
    return bool(proxy_bypass(f"{host}:{port}")) or any(_covers(each, host, port) for each in entries)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of NO_PROXY means a host: any, a network or address, a name or a domain, maybe with a port."""
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        name = entry.removesuffix(f":{port}").removeprefix("*").strip("[]").strip(".")
        return entry == "*" or (bool(name) and f".{host.rstrip('.')}".endswith(f".{name}"))


def _socks(proxy: Proxy) -> Any:
    try:
        return importlib.import_module("aiohttp_socks")
    except ImportError:
        raise StartError(
            f"{proxy.variable} names a SOCKS proxy, which needs one more package: pip install aiohttp-socks."
        ) from None


def certificates(url: str, proxy: Proxy | None = None) -> ssl.SSLContext:
    """How servers prove who they are: by the authorities of the system, or by those that the environment names instead.

    Raises StartError where what is named cannot be read, if `url` or the proxy before it is encrypted.
    """
    variable = next((each for each in BUNDLES if os.environ.get(each)), None)
    encrypted = url.startswith("https:") or (proxy is not None and proxy.url.startswith("https:"))
    if variable is None or not encrypted:
        return _usual_certificates()
    path = os.environ[variable]
    try:
        if Path(path).is_dir():
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError:  # also of what is no certificate
        raise StartError(f"{variable} names no file of certificates that can be read.") from None


@functools.cache
def _usual_certificates() -> ssl.SSLContext:
    """Read once: it takes some 50 ms of processor time."""
    return httpx2.create_ssl_context(trust_env=False)


class Connection(ResponseHandler):
    """aiohttp's, with less to do for each chunk of a response."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Go on where reading was paused. Where it was not, parser and socket need not know that a chunk was taken."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def hold(self) -> None:
        """Leave what comes to the system for a moment. What has come is still parsed, and silence is still measured."""
        self._pause_reading_for_buffer()

    def let_go(self) -> None:
        """Take it all."""
        self._resume_reading_for_buffer()


def open_session(proxy: Proxy | None, tls: ssl.SSLContext, headers: Sequence[tuple[str, str]]) -> aiohttp.ClientSession:
    """Connections through `proxy`, each request with these headers. An event loop has to run."""
    options: dict[str, Any] = {"limit": 0, "ssl": tls}  # how many are asked at once is bounded elsewhere
    if proxy is not None and proxy.is_socks:
        connector = _socks_connector(proxy, options)
        proxy = None
    else:
        connector = aiohttp.TCPConnector(**options)
    connector._factory = functools.partial(Connection, asyncio.get_running_loop())  # type: ignore[assignment]
    return aiohttp.ClientSession(
        connector=connector, headers=headers, proxy=proxy.url if proxy is not None else None,
        max_line_size=MOST_BYTES_OF_A_HEADER, max_field_size=MOST_BYTES_OF_A_HEADER, max_headers=MOST_HEADERS,
    )  # fmt: skip


def _socks_connector(proxy: Proxy, options: Mapping[str, Any]) -> aiohttp.TCPConnector:
    package = _socks(proxy)

    class Connector(package.ProxyConnector):  # type: ignore[misc, name-defined]  # it need not be installed
        """Fails as aiohttp's own connectors do."""

        async def connect(self, req: aiohttp.ClientRequest, *rest: Any, **more: Any) -> Any:
            try:
                return await super().connect(req, *rest, **more)
            except (package.ProxyError, package.ProxyConnectionError, package.ProxyTimeoutError) as error:
                raise aiohttp.ClientProxyConnectionError(req.connection_key, OSError("the proxy failed")) from error

    scheme, _, rest = proxy.url.partition("://")
    resolves_there = scheme in ("socks4a", "socks5h")  # names, as curl has it
    connector: aiohttp.TCPConnector = Connector.from_url(f"{scheme[:6]}://{rest}", rdns=resolves_there, **options)
    return connector
