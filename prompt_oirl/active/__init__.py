"""Which cells of a log to run next, so that the choice of prompts becomes sure with few of them."""
