"""Simulations a second of the tree core."""
