"""Evaluation: suites, runs, comparisons and gates."""
