"""What serving decides without the outside: who gets which request, and when a rollout goes on, ends or turns back."""
