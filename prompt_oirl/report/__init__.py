"""One static HTML page of audit, evaluation and choice."""
