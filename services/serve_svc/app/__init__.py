"""Use cases: deploying, answering, feedback."""
