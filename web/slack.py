"""Slack's deliveries over HTTP."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bots.slack.bot import SlackBot


def slack_routes(max_body_bytes: int) -> APIRouter:
    """The one address at which Slack delivers everything."""
    routes = APIRouter(max_body_size=max_body_bytes)

    @routes.post("/slack/events", include_in_schema=False)
    async def events(request: Request) -> Response:
        """Take in an event, a command or a click that Slack signed."""
        bot: SlackBot = request.app.state.slack
        body = await request.body()
        if not bot.is_genuine(request.headers, body):
            return Response("This is not signed by Slack, or too old.", status_code=401, media_type="text/plain")
        answer = await bot.take_in(request.headers, body)
        return Response(answer.body, answer.status, answer.first_headers_without_set_cookie())

    return routes
