"""Which of several responses to a query to return, learned from responses of known correctness."""
