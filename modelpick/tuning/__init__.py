"""Fine-tuning: from a company's own examples to a better model, with the proof. torch is imported inside functions."""
