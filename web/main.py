"""`uvicorn web.main:app`: the web surface alone."""

from core import configure_logging, load_settings
from web.app import create_app
from web.process import calm_garbage_collector

_settings = load_settings()
configure_logging(_settings.log_level, _settings.secrets)
app = create_app(_settings)
calm_garbage_collector()
