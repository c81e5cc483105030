"""What is right, decided without touching anything."""
