"""Puts gated model versions behind endpoints and answers prompts."""
