"""The way to a server: what the settings name is sent and nothing else; proxies and certificates are as for curl."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import aiohttp
import pytest

from core import Question, Settings, StartError, openai_model, start_warnings
from core.language_model import ModelTrouble, Said, TroubleKind
from core.openai_model.network import Address, Connection, Proxy, certificates, open_session, proxy_before
from tests.conftest import KEY, opened
from tests.core.test_openai_model import BOB, answer_of, model_at
from tests.fakes.openai_api import FakeOpenAI

AUTHORITY = Path(__file__).parent / "fixtures" / "authority.pem"
OURS = f"Bearer {KEY}"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


@pytest.fixture(autouse=True)
def _no_network_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*VARIABLES, *map(str.lower, VARIABLES), *BUNDLES):
        monkeypatch.delenv(name, raising=False)


# ── what is sent ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def ask(fake: FakeOpenAI | None, url: str, **settings: Any) -> None:
    """Put one question, with whatever the settings and the environment say."""
    async with opened(fake, url, **settings) as chat:
        turn = await chat.accept(Question("web", "web:public:1", "Q1-a"))
        assert turn is not None
        await chat.answering(turn).whole()


async def test_variables_of_the_sdk_change_nothing(
    fake: FakeOpenAI, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openai_model.model, "OPENAI_URL", fake.base_url)
    for name, value in {
        "OPENAI_BASE_URL": "",
        "OPENAI_API_KEY": "sk-another",
        "OPENAI_ADMIN_KEY": "sk-admin",
        "OPENAI_ORG_ID": "org-1",
        "OPENAI_PROJECT_ID": "proj_1",
        "OPENAI_CUSTOM_HEADERS": "Authorization: Bearer sk-another\nX-Custom: 1",
    }.items():
        monkeypatch.setenv(name, value)
    await ask(fake, sqlite_url, openai_base_url="")
    assert len(fake.requests) >= 2  # to open a conversation, and to ask in it
    for request in fake.requests:
        assert request.headers["authorization"] == OURS
        assert not {"openai-organization", "openai-project", "x-custom"} & set(request.headers)


@pytest.mark.parametrize("entry", ["machine 127.0.0.1", "default"])
async def test_a_netrc_file_never_says_who_we_are(
    fake: FakeOpenAI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    (tmp_path / ".netrc").write_text(f"{entry}\nlogin bob\npassword swordfish\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    async with model_at(fake.base_url) as model:
        await answer_of(model)
        assert model.conversations is not None
        await model.conversations.open("digest")
    assert [request.headers["authorization"] for request in fake.requests] == [OURS, OURS]


async def test_a_query_in_the_url_goes_with_every_request(fake: FakeOpenAI) -> None:
    async with model_at(f"{fake.base_url}/?api-version=preview&a=b%20c") as model:
        await answer_of(model)
        assert model.conversations is not None
        conversation = await model.conversations.open("digest")
        await model.conversations.tell(conversation, [Said("user", "Q1-a")], BOB)
    assert [request.query for request in fake.requests] == [{"api-version": "preview", "a": "b c"}] * 3
    assert [request.path for request in fake.requests] == [
        "/responses", "/conversations", f"/conversations/{conversation}/items",
    ]  # fmt: skip


async def test_a_user_and_a_password_in_the_url_are_sent_in_place_of_the_key(fake: FakeOpenAI) -> None:
    async with model_at(fake.base_url.replace("://", "://b%C3%B6b:p%40ss:w@")) as model:
        with pytest.raises(ModelTrouble):  # the fake knows keys alone
            await answer_of(model)
        assert model.conversations is not None
        with pytest.raises(ModelTrouble):
            await model.conversations.open("digest")
    expected = f"Basic {b64encode('böb:p@ss:w'.encode()).decode()}"
    assert [request.headers["authorization"] for request in fake.requests] == [expected, expected]


def test_the_start_says_that_a_key_is_not_sent_beside_a_user_in_the_url() -> None:
    settings = Settings(openai_base_url="https://bob:pw@a.example/v1", openai_api_key="sk-1", _env_file=None)
    assert any("OPENAI_API_KEY" in each for each in start_warnings(settings, serving=False))


def test_an_address_is_what_paths_are_joined_to() -> None:
    address = Address.of("https://bob:pw@a.example:8443/openai/v1/?api-version=preview")
    assert address.url("/responses") == "https://a.example:8443/openai/v1/responses?api-version=preview"
    assert Address.of("http://[::1]:8080/v1").url("/responses") == "http://[::1]:8080/v1/responses"


# ── proxies ──────────────────────────────────────────────────────────────────────────────────────────────────────────

HTTP, HTTPS = "http://a.b.example/v1", "https://a.b.example:8443/v1"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        (HTTP, {}, None),
        (HTTP, {"HTTP_PROXY": "http://p.example:1"}, "http://p.example:1"),
        (HTTP, {"http_proxy": "http://p.example:1", "HTTP_PROXY": "http://q.example:1"}, "http://p.example:1"),
        (HTTP, {"HTTP_PROXY": "p.example:1"}, "http://p.example:1"),
        (HTTP, {"HTTP_PROXY": "bob:pw@p.example:1\n"}, "http://bob:pw@p.example:1"),
        (HTTP, {"HTTPS_PROXY": "http://p.example:1"}, None),
        (HTTPS, {"HTTPS_PROXY": "http://p.example:1"}, "http://p.example:1"),
        (HTTPS, {"HTTPS_PROXY": "", "ALL_PROXY": "https://p.example:1"}, "https://p.example:1"),
        (HTTPS, {"HTTPS_PROXY": "http://p.example:1", "all_proxy": "http://q.example:1"}, "http://p.example:1"),
        *(
            (HTTPS, {"ALL_PROXY": "http://p.example:1", "NO_PROXY": but}, None)
            for but in ("*", "a.b.example", "example", ".b.example", "*.b.example", "x.example, b.example",
                        "x B.EXAMPLE", "a.b.example:8443", "a.b.example.")
        ),
        *(
            (HTTPS, {"ALL_PROXY": "http://p.example:1", "NO_PROXY": but}, "http://p.example:1")
            for but in ("", "c.example", "xa.b.example", "b", "a.b.example:443", ".a.b.example.org", "10.0.0.0/8")
        ),
        ("http://10.1.2.3:80/v1", {"HTTP_PROXY": "http://p.example:1", "no_proxy": "10.0.0.0/8"}, None),
        ("http://10.1.2.3:80/v1", {"HTTP_PROXY": "http://p.example:1", "no_proxy": "10.1.2.3"}, None),
        ("http://11.1.2.3/v1", {"HTTP_PROXY": "http://p.example:1", "no_proxy": "10.0.0.0/8"}, "http://p.example:1"),
        ("http://[fd00::1]:80/v1", {"HTTP_PROXY": "http://p.example:1", "no_proxy": "fd00::/8"}, None),
        ("http://[fd00::1]/v1", {"HTTP_PROXY": "http://p.example:1", "no_proxy": "[fd00::1]"}, None),
    ],
)  # fmt: skip
def test_proxies_are_found_where_curl_finds_them(
    monkeypatch: pytest.MonkeyPatch, url: str, environment: Mapping[str, str], proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = proxy_before(url)
    assert (found.url if found else None) == proxy


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("http://", "a URL"),
        ("http://bob:swordfish@p.example:0", "a URL"),
        ("http://bob:swordfish@p.example:many", "a URL"),
        ("ftp://bob:swordfish@p.example", "a URL"),
        ("socks5://bob:swordfish@p.example", "pip install aiohttp-socks"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_one_sentence_at_the_start(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, named: str, told: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", named)
    monkeypatch.setitem(sys.modules, "aiohttp_socks", None)  # as if it were not installed
    with pytest.raises(StartError, match=rf"^ALL_PROXY [^\n]*{told}[^\n]*\.$") as refused:
        async with opened(None, sqlite_url, openai_base_url=HTTP):
            pass
    assert "swordfish" not in str(refused.value)


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("socks5://bob:pw@p.example:1", ("socks5://bob:pw@p.example:1", False)),
        ("socks5h://p.example", ("socks5://p.example", True)),
        ("socks4a://p.example", ("socks4://p.example", True)),
    ],
)
async def test_a_socks_proxy_is_left_to_its_package_and_one_that_fails_is_not_reached(
    monkeypatch: pytest.MonkeyPatch, named: str, asked: tuple[str, bool]
) -> None:
    wanted: list[tuple[str, bool]] = []

    class ProxyError(Exception):
        pass

    class ProxyConnector(aiohttp.TCPConnector):
        @classmethod
        def from_url(cls, url: str, *, rdns: bool, **options: Any) -> Self:
            wanted.append((url, rdns))
            return cls(**options)

        async def connect(self, *_: Any, **__: Any) -> Any:
            raise ProxyError

    errors = {"ProxyError": ProxyError, "ProxyConnectionError": OSError, "ProxyTimeoutError": TimeoutError}
    package = SimpleNamespace(ProxyConnector=ProxyConnector, **errors)
    monkeypatch.setitem(sys.modules, "aiohttp_socks", package)
    monkeypatch.setenv("ALL_PROXY", named)
    async with model_at(HTTP) as model:
        with pytest.raises(ModelTrouble) as caught:
            await answer_of(model)
    assert caught.value.kind is TroubleKind.NOT_REACHED
    assert wanted == [asked]


class TinyProxy:
    """Forwards what is asked of any `.invalid` host to one port, and refuses to tunnel."""

    def __init__(self, port: int) -> None:
        self.heads: list[list[str]] = []
        self._port = port

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, and its reply."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *headers = head.strip().split("\r\n")
        self.heads.append([line, *headers])
        if line.startswith("CONNECT "):
            writer.write(b"HTTP/1.1 407 No\r\ncontent-length: 0\r\n\r\n")
        else:
            length = int(next((each[15:] for each in headers if each.lower().startswith("content-length:")), "0"))
            body = await reader.readexactly(length)
            method, url, version = line.split()
            path = "/" + url.split("/", 3)[3]
            kept = [each for each in headers if not each.lower().startswith(("proxy-", "connection:"))]
            there, onward = await asyncio.open_connection("127.0.0.1", self._port)
            onward.write(
                "\r\n".join([f"{method} {path} {version}", *kept, "connection: close", "", ""]).encode() + body
            )
            writer.write(await there.read())
            onward.close()
        writer.close()


@contextlib.asynccontextmanager
async def tiny_proxy(port: int) -> AsyncIterator[tuple[TinyProxy, str]]:
    proxy = TinyProxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    async with server:
        yield proxy, f"bob:p%40ss@127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_answers_and_conversations_go_through_the_proxy(
    fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tiny_proxy(fake.port) as (proxy, where):
        monkeypatch.setenv("http_proxy", f"http://{where}")
        async with model_at("http://model.invalid/v1") as model:
            monkeypatch.delenv("http_proxy")  # it is read once
            await answer_of(model)
            assert model.conversations is not None
            await model.conversations.open("digest")
    lines = [line for line, *_ in proxy.heads]
    assert lines == [
        "POST http://model.invalid/v1/responses HTTP/1.1",
        "POST http://model.invalid/v1/conversations HTTP/1.1",
    ]
    credentials = f"Proxy-Authorization: Basic {b64encode(b'bob:p@ss').decode()}"
    assert all(credentials in headers for _, *headers in proxy.heads)
    assert [request.headers["authorization"] for request in fake.requests] == [OURS, OURS]


async def test_what_is_encrypted_is_tunnelled_and_the_key_is_not_shown_to_the_proxy(
    fake: FakeOpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tiny_proxy(fake.port) as (proxy, where):
        monkeypatch.setenv("ALL_PROXY", f"http://{where}")
        async with model_at("https://model.invalid/v1") as model:
            with pytest.raises(ModelTrouble) as caught:
                await answer_of(model)
    assert caught.value.kind is TroubleKind.BROKE_OFF
    assert [line for line, *_ in proxy.heads] == ["CONNECT model.invalid:443 HTTP/1.1"]
    assert KEY not in str(proxy.heads)


# ── certificates ─────────────────────────────────────────────────────────────────────────────────────────────────────


def names_in(context: ssl.SSLContext) -> list[object]:
    return [dict(part[0] for part in each["subject"]) for each in context.get_ca_certs()]  # type: ignore[misc]


@pytest.mark.parametrize("variable", BUNDLES[:3])
def test_authorities_of_ones_own_are_those_that_a_variable_names(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(AUTHORITY))
    context = certificates(HTTPS)
    assert names_in(context) == [{"commonName": "An authority of tests"}]
    assert (context.check_hostname, context.verify_mode) == (True, ssl.CERT_REQUIRED)


@pytest.mark.parametrize("variable", BUNDLES)
def test_an_empty_variable_names_no_authorities(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    usual = names_in(certificates(HTTPS))
    monkeypatch.setenv(variable, "")
    assert names_in(certificates(HTTPS)) == usual


@pytest.mark.parametrize("content", [None, "swordfish"])
def test_authorities_that_cannot_be_read_are_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "ca.pem").write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    for url, proxy in ((HTTPS, None), (HTTP, Proxy("https://p.example", "HTTP_PROXY"))):
        with pytest.raises(StartError, match=r"^SSL_CERT_FILE [^\n]*\.$"):
            certificates(url, proxy)
    certificates(HTTP)  # where nothing is encrypted none are needed


# ── connections ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_each_chunk_of_a_reply_is_parsed_once_and_what_is_held_comes_when_it_is_let_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    received = Connection.data_received

    def counted(self: Connection, data: bytes) -> None:
        nonlocal looks
        looks += 1
        received(self, data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 100)
        await reader.readexactly(1)  # once the first chunks were read
        writer.write(b"1\r\nb\r\n" * 100 + b"0\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    monkeypatch.setattr(Connection, "data_received", counted)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with (
        server,
        open_session(None, certificates("http://x"), []) as session,
        session.get(f"http://127.0.0.1:{port}/") as response,
    ):
        first = await response.content.readexactly(100)
        assert response.connection is not None
        connection, transport = response.connection.protocol, response.connection.transport
        assert isinstance(connection, Connection)
        assert isinstance(transport, asyncio.Transport)
        connection.hold()
        assert not transport.is_reading()
        transport.write(b"!")
        connection.let_go()
        assert await response.content.read() == b"b" * 100
    assert first == b"a" * 100
    assert looks < 10
