"""Feedback as data: records, who is believed, and how a version is made of them; pure, on the standard library."""
