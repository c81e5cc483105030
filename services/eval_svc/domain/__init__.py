"""Decisions of the evaluation service: pure, standard library and kernel only."""
