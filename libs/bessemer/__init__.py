"""Bessemer: from private documents to a model that its owner owns."""
