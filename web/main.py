"""`uvicorn web.main:app`: the web surface alone."""

import logging
import sys

from fastapi import FastAPI

from core import StartError, calm_garbage_collector, configure_logging, load_settings, start_warnings
from web.app import create_app


def _app() -> FastAPI:
    settings = load_settings()
    configure_logging(settings.log_level, settings.secrets)
    for warning in start_warnings(settings, serving=True):
        logging.getLogger(__name__).warning(warning)
    return create_app(settings)


try:
    app = _app()
except StartError as error:
    print(f"Bob cannot start. {error}", file=sys.stderr)
    sys.exit(2)
calm_garbage_collector()
