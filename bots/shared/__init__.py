"""What every surface of messages needs, once: it knows no platform."""
