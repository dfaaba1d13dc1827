"""The sections of ``benchmarks/prompt_oirl.py``."""
