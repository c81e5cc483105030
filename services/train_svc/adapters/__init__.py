"""What the ports say, done for real."""
