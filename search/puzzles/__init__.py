"""Four-number arithmetic puzzles: exact arithmetic, text format and puzzle sets."""
