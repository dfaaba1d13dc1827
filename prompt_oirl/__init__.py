"""The right prompt for each query, learned from logs, with an honest account of what it gains."""
