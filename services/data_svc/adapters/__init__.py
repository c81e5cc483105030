"""What the ports say, done for real; and the HTTP door for files."""
