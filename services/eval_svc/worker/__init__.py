"""Scores models; its own process, the only room with torch."""
