"""estimate --exact: the engine's own code traced on fake tensors."""
