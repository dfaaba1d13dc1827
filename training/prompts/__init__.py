"""The script that makes the example log of prompts; nothing here is needed to choose prompts."""
