"""Whether a model still says the same after a hop: merge, export, load into another runtime."""
