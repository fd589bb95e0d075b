"""The fine-tuning run, from the first check to the model card. torch is imported inside functions."""
