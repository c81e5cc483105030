"""Long-running jobs: one state machine, leases with fencing, workers as processes."""
