"""What a selector is worth on queries that it has not seen."""
