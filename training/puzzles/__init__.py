"""Tokenizer, data, training and evaluation of the bundled puzzle policy."""
