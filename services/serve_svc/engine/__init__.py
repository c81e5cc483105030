"""The data plane: one child process per deployment, the only room with torch."""
