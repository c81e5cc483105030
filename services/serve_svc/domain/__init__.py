"""Decisions of serving, pure."""
