"""Run Slack's bot alone, until a signal ends it."""

from bots.slack.bot import main

if __name__ == "__main__":
    main()
