"""The few words everybody shares; standard library only."""
