"""Surfaces where an answer is a message that grows."""
