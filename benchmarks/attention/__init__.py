"""Tree attention on the processor beside what torch and vLLM offer for the same step."""
