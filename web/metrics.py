"""`/metrics`: what is counted and timed, for Prometheus."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from web.callers import WITH_OR_WITHOUT_A_KEY, Operator
from web.depends import OpenChat
from web.problems import problems

_EXAMPLE = """# HELP bob_turns_total Turns that ended in this process.
# TYPE bob_turns_total counter
bob_turns_total{surface="web",outcome="answered"} 1.0
"""
_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "In Prometheus' text format, or OpenMetrics where `Accept` likes that better.",
        "content": {"text/plain": {"example": _EXAMPLE}},
    },
    **problems(401, 403, 429, 503),
}

metrics_routes = APIRouter()


@metrics_routes.get(
    "/metrics",
    response_class=Response,
    responses=_RESPONSES,
    openapi_extra=WITH_OR_WITHOUT_A_KEY,
    summary="Count and time",
)  # fmt: skip
async def metrics(request: Request, chat: OpenChat, operator: Operator) -> Response:
    """What this process has counted and timed, and how much waits in its database: nothing of whom or what.

    It takes a secret key; while no keys are needed, only this machine itself is told.
    """
    content_type, text = await chat.exposition(request.headers.get("accept", ""))
    return Response(text, media_type=content_type)
