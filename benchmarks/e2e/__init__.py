"""Whole searches, end to end, beside what people run today."""
