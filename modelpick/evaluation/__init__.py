"""Is the tuned model better? Scores, the probe, before and after."""
