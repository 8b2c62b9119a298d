"""Run Slack's bot alone, until a signal ends it."""

from bots import SURFACES
from bots.shared.alone import run_alone
from bots.slack import SLACK


def main() -> None:
    """Run it."""
    run_alone(SLACK, SURFACES)


if __name__ == "__main__":
    main()
