"""A selector in use: why it chose, and whether queries or outcomes have changed."""
