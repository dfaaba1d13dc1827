"""Accuracy against cost of several algorithms on one suite of problems."""
