"""What every service process is made of: gRPC server, store, events, objects."""
