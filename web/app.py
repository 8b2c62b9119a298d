"""The web application: what it serves, and what stands around it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware

from bots.shared.surface import LoadedSurface
from core import Chat, Settings, StoreUnavailable, allowed_hosts, check_who_may_ask, open_chat, requests_left_out
from web.addresses import networks
from web.ask import AskDirectly, answer_orphaned, ask_routes, turn_routes
from web.callers import IDENTITY_DESCRIBED, Callers
from web.deliveries import delivery_routes
from web.docs import docs_routes
from web.ending import draining_on_signals
from web.feedback import feedback_routes
from web.files import Limits, file_routes
from web.headers import SafeHeaders
from web.hosts import AllowedHosts
from web.limits import BodyBounds, BoundedBody
from web.metrics import metrics_routes
from web.pages import ChatPage, page_routes
from web.people import people_routes
from web.problems import Unexpected, answer_with_sentences
from web.rates import Rates
from web.sessions import assistant_routes, public_assistants, session_routes

WELCOME = "Welcome to the OpenAI Threaded Assistant API!"
SECONDS_FOR_THE_STORE = 2.0  # to say whether it answers

status_routes = APIRouter()


class _WebApp(FastAPI):
    def openapi(self) -> dict[str, Any]:
        described = super().openapi()
        form = described["paths"]["/ask"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
        for schema in (form, described["components"]["schemas"]["AskBody"]):
            schema["properties"]["files"]["maxItems"] = self.state.bounds.files
        described["components"]["securitySchemes"]["Identity"] = IDENTITY_DESCRIBED
        chat: Chat | None = getattr(self.state, "chat", None)
        if chat is not None:
            schemas = described["components"]["schemas"]
            public = public_assistants(chat)
            schemas["Choice"]["properties"]["assistant"]["enum"] = public
            schemas["Beginning"]["properties"]["assistant"]["enum"] = [*public, None]
        return described


def create_app(settings: Settings, chat: Chat | None = None, surfaces: Sequence[LoadedSurface] = ()) -> FastAPI:
    """The application over `chat`; without one it opens its own for as long as it is served.

    It serves those surfaces to which requests are delivered.
    """
    delivered = {each.path: each for each in surfaces if each.path is not None}

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            if chat is None:
                await check_who_may_ask(settings)
                app.state.chat = await stack.enter_async_context(open_chat(settings))
                stack.enter_context(draining_on_signals(app.state.chat, settings.drain_seconds))
            else:
                app.state.chat = chat
            app.state.deliveries = {
                path: await stack.enter_async_context(each.open(app.state.chat, drain_seconds=settings.drain_seconds))
                for path, each in delivered.items()
            }
            chore = asyncio.create_task(answer_orphaned(app.state.chat))
            try:
                yield
            finally:
                chore.cancel()

    app = _WebApp(
        title="Bob",
        description="One assistant on Slack, Discord and your website. Every session keeps its thread. Its own "
        "sentences, as in errors, are in the language that `Accept-Language` likes best, or else in English.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # Starlette's redirects lead to whatever host the request names
        # Its logs would send what people wrote; what it configures by itself would be beside what we do.
        telemetry={
            "tracing": settings.traces,
            "exclude": requests_left_out(settings.traces_share) if settings.traces else None,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    _keep_state(app, settings)
    routers = [
        ask_routes, turn_routes, session_routes, assistant_routes, feedback_routes, people_routes, file_routes,
        delivery_routes(delivered),
        status_routes, metrics_routes, docs_routes, page_routes,
    ]  # fmt: skip
    for router in routers:
        app.include_router(router)
    answer_with_sentences(app, routers)
    _add_middleware(app, settings)
    return app


def _keep_state(app: FastAPI, settings: Settings) -> None:
    app.state.rates = Rates(settings)
    app.state.callers = Callers(networks(settings.trusted_proxies), app.state.rates)
    app.state.origins = settings.cors_allow_origins
    app.state.bounds = BodyBounds.by(settings)
    app.state.one_piece = asyncio.Lock()  # of all forms is taken in at a time
    app.state.limits = Limits.by(settings)
    app.state.chat_page = ChatPage(settings)


def _add_middleware(app: FastAPI, settings: Settings) -> None:
    """From the innermost to the outermost."""
    app.add_middleware(AskDirectly)
    app.add_middleware(BoundedBody, bounds=app.state.bounds)
    app.add_middleware(Unexpected)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(settings.cors_allow_origins),
        allow_credentials=settings.cors_allow_credentials,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Retry-After", "RateLimit", "RateLimit-Policy"],
    )
    app.add_middleware(AllowedHosts, hosts=allowed_hosts(settings))
    app.add_middleware(SafeHeaders)


@status_routes.head("/", include_in_schema=False)
@status_routes.get("/", summary="Say hello")
async def root() -> dict[str, str]:
    """Say what this is."""
    return {"message": WELCOME}


@status_routes.head("/healthz", include_in_schema=False)
@status_routes.get("/healthz", summary="Is this process alive?")
async def healthz(request: Request) -> dict[str, str]:
    """Always 200 while the process lives; `store` and `model` say whether its database and its model answer.

    While the model does not, `model_since` says since when, and `model_advice` what to do.
    What keeps a bot from being heard or from answering stands under its surface's name. And `passwords` says "closed"
    for an hour after something was not read, since too many words in it might be a PIN.
    """
    chat: Chat = request.app.state.chat
    state = {"status": "ok", "store": "unavailable", "model": "ok", **_model_standing(chat), **chat.troubles.by_surface}
    if await _store_answers(chat):
        with contextlib.suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(SECONDS_FOR_THE_STORE):
                closed = {"passwords": "closed"} if await chat.are_passwords_closed() else {}
                state |= {"store": "ok", **closed}
    return state


@status_routes.head("/readyz", include_in_schema=False)
@status_routes.get("/readyz", summary="Should this process get traffic?", responses={503: {"description": "Not now."}})
async def readyz(request: Request) -> JSONResponse:
    """200 while questions can be stored and the process is not about to end, else 503.

    Also while the language model does not answer, since no other process would get more out of it: then `model` says
    what is wrong, `model_since` since when, and `model_advice` what to do.
    """
    chat: Chat = request.app.state.chat
    if chat.draining:
        return JSONResponse({"status": "draining"}, status_code=503)
    if not await _store_answers(chat):
        return JSONResponse({"status": "store unavailable"}, status_code=503)
    return JSONResponse({"status": "ready", **_model_standing(chat)})


def _model_standing(chat: Chat) -> dict[str, str]:
    """What operators are told of a language model that does not answer: nothing that is secret, and no address."""
    if (standing := chat.model_standing) is None:
        return {}
    since = datetime.now(UTC) - timedelta(seconds=standing.seconds)
    at = since.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"model": standing.status, "model_since": at, "model_advice": standing.advice}


async def _store_answers(chat: Chat) -> bool:
    try:
        async with asyncio.timeout(SECONDS_FOR_THE_STORE):
            await chat.check_store()
    except (StoreUnavailable, TimeoutError):
        return False
    return True
