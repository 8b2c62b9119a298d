"""The web application: what it serves, and what stands around it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware

from bots.slack_bot import open_slack
from core import Chat, Settings, StoreUnavailable, open_chat
from web.addresses import networks
from web.ask import answer_abandoned, ask_routes
from web.limits import AnnouncedBodyLimit
from web.pages import page_routes
from web.problems import Unexpected, answer_with_sentences
from web.slack import slack_routes

WELCOME = "Welcome to the OpenAI Threaded Assistant API!"


def create_app(settings: Settings, chat: Chat | None = None) -> FastAPI:
    """The application over `chat`; without one it opens its own for as long as it is served."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            app.state.chat = chat or await stack.enter_async_context(open_chat(settings))
            if settings.slack == "http":
                app.state.slack = await stack.enter_async_context(open_slack(settings, app.state.chat))
            chore = asyncio.create_task(answer_abandoned(app.state.chat))
            try:
                yield
            finally:
                chore.cancel()

    app = FastAPI(
        title="Bob",
        description="One assistant on Slack, Discord and your website. Every session keeps its thread.",
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False},
    )
    answer_with_sentences(app)
    app.include_router(ask_routes(networks(settings.trusted_proxies), settings.max_body_bytes))
    app.include_router(page_routes)
    if settings.slack == "http":
        app.include_router(slack_routes(settings.max_body_bytes))
    _add_status_routes(app)
    app.add_middleware(AnnouncedBodyLimit, most=settings.max_body_bytes)
    app.add_middleware(Unexpected)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(settings.cors_allow_origins),
        allow_credentials=settings.cors_allow_credentials,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Retry-After"],
    )
    return app


def _add_status_routes(app: FastAPI) -> None:
    @app.head("/", include_in_schema=False)
    @app.get("/", summary="Say hello")
    async def root() -> dict[str, str]:
        """Say what this is."""
        return {"message": WELCOME}

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", summary="Is this process alive?")
    async def healthz(request: Request) -> dict[str, str]:
        """Always 200 while the process lives; `store` says whether its database answers."""
        return {"status": "ok", "store": "ok" if await _store_answers(request.app.state.chat) else "unavailable"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="Should this process get traffic?", responses={503: {"description": "Not now."}})
    async def readyz(request: Request) -> JSONResponse:
        """200 while questions can be stored and the process is not about to end, else 503."""
        chat: Chat = request.app.state.chat
        if chat.draining:
            return JSONResponse({"status": "draining"}, status_code=503)
        if not await _store_answers(chat):
            return JSONResponse({"status": "store unavailable"}, status_code=503)
        return JSONResponse({"status": "ready"})


async def _store_answers(chat: Chat) -> bool:
    try:
        async with asyncio.timeout(2):
            await chat.check_store()
    except (StoreUnavailable, TimeoutError):
        return False
    return True
