"""The doors: gRPC, and HTTP as OpenAI's clients speak it."""
