"""What serving decides without the outside: who gets which request, how rollouts move, what a loop does next."""
