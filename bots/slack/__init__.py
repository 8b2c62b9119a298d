"""Bob in Slack."""
