"""Cases that ship with the product, written for it."""
