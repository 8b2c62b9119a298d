"""Run Discord's bot alone, until a signal ends it."""

from bots import SURFACES
from bots.discord import DISCORD
from bots.shared.alone import run_alone


def main() -> None:
    """Run it."""
    run_alone(DISCORD, SURFACES)


if __name__ == "__main__":
    main()
