"""What routes need of the application that serves them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from core import Chat
from web.limits import BodyBounds
from web.rates import Rates


async def _chat(request: Request) -> Chat:
    chat: Chat = request.app.state.chat
    return chat


async def _rates(request: Request) -> Rates:
    rates: Rates = request.app.state.rates
    return rates


async def _bounds(request: Request) -> BodyBounds:
    bounds: BodyBounds = request.app.state.bounds
    return bounds


OpenChat = Annotated[Chat, Depends(_chat)]
OpenRates = Annotated[Rates, Depends(_rates)]
OpenBounds = Annotated[BodyBounds, Depends(_bounds)]
