"""Builds of Bob that are broken on purpose, to see that the suite catches them: `python -m tests.broken [name ...]`."""
