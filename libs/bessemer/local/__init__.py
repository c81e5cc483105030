"""The embedded stack: starts, repairs and stops the broker and the four services on one machine."""
