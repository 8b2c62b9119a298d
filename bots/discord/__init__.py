"""Bob on Discord."""
