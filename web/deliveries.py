"""What platforms deliver over HTTP, each at a path of its own."""

from __future__ import annotations

from collections.abc import Iterable

from fastapi import APIRouter, Request, Response

from bots.shared.surface import HttpHandler


def delivery_routes(paths: Iterable[str]) -> APIRouter:
    """The paths of all surfaces to which requests are delivered."""
    routes = APIRouter(include_in_schema=False)
    for path in paths:
        routes.add_api_route(path, deliver, methods=["POST"])
    return routes


async def deliver(request: Request) -> Response:
    """Let a surface take in what was delivered to it."""
    handler: HttpHandler = request.app.state.deliveries[request.scope["route"].path]
    status, headers, body = await handler(request.headers, await request.body())
    return Response(body, status, headers)
