"""Llama-family language models in plain PyTorch: configuration, weights, tokenizer, scoring and generation."""
