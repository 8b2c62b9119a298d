"""`uvicorn web.main:app`: the web surface alone."""

import logging
import sys

from fastapi import FastAPI

from bots import SURFACES
from bots.shared.surface import all_secrets, configured, load_surfaces
from core import StartError, calm_garbage_collector, configure_logging, load_settings, start_warnings
from web.app import create_app


def _app() -> FastAPI:
    settings = load_settings()
    surfaces = load_surfaces(SURFACES)
    configure_logging(settings.log_level, all_secrets(settings, surfaces))
    for warning in start_warnings(settings, serving=True, models=[each.settings for each in SURFACES]):
        logging.getLogger(__name__).warning(warning)
    return create_app(settings, surfaces=configured(surfaces, settings))


try:
    app = _app()
except StartError as error:
    print(f"Bob cannot start. {error}", file=sys.stderr)
    sys.exit(2)
calm_garbage_collector()
