"""Training examples: read, check, curate, split. No torch."""
