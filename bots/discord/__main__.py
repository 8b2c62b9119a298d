"""Run Discord's bot alone, until a signal ends it."""

from bots.discord.bot import main

if __name__ == "__main__":
    main()
