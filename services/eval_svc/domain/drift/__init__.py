"""Drift: whether requests are still like the reference, with a number of false alarms that is a setting."""
