"""The obvious Discord bot: discord.py, AsyncOpenAI, an edit a second among the tokens. Nothing stored."""

import os
import time

import discord
import yarl
from discord.gateway import DiscordWebSocket
from discord.http import Route
from openai import AsyncOpenAI

SECONDS_BETWEEN_EDITS = 1.0

Route.BASE = os.environ["DISCORD_API_URL"]
model = AsyncOpenAI()


class Bot(discord.AutoShardedClient):
    async def setup_hook(self) -> None:
        _, url, _ = await self.http.get_bot_gateway()
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(url)

    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot or self.user not in message.mentions:
            return
        text, shown_at = "", time.monotonic()
        reply: discord.Message | None = None
        async for event in await model.responses.create(model="gpt-6-luna", input=message.content, stream=True):
            if event.type != "response.output_text.delta":
                continue
            text += event.delta
            if reply is None:
                reply = await message.reply(text)
            elif time.monotonic() - shown_at >= SECONDS_BETWEEN_EDITS:
                await reply.edit(content=text)
                shown_at = time.monotonic()
        if reply is not None:
            await reply.edit(content=text)


if __name__ == "__main__":
    Bot(intents=discord.Intents(guilds=True, guild_messages=True)).run(os.environ["DISCORD_TOKEN"], log_handler=None)
