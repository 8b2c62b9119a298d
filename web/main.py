"""`uvicorn web.main:app`: the web surface alone."""

import logging

from core import configure_logging, load_settings
from core.process import calm_garbage_collector, start_warnings
from web.app import create_app

_settings = load_settings()
configure_logging(_settings.log_level, _settings.secrets)
for _warning in start_warnings(_settings, serving=True):
    logging.getLogger(__name__).warning(_warning)
app = create_app(_settings)
calm_garbage_collector()
