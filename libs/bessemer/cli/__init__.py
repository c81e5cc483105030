"""The `bessemer` command: a thin user of the SDK."""
