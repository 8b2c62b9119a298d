"""The web surface, and the process that hosts all surfaces."""
