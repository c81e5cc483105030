"""Decisions about data: pure functions of text, numbers and recipes."""
