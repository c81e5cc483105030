"""Turns uploads into dataset versions, in a process of its own."""
