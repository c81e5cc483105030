"""What the service asks of its neighbours, over gRPC."""
