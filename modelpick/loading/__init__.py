"""A model in memory: load, quantize, adapt, tokenize. torch is imported inside functions."""
