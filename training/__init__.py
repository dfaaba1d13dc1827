"""Scripts that make the bundled models; nothing here is needed to run the search."""
