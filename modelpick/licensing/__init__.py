"""May we use it? License facts, a company policy, a verdict."""
