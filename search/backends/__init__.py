"""Language models that the engine can run over."""
