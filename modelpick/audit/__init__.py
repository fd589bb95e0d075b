"""Which models does a code base use, and may it? Finds model ids where they are used, and judges each once."""
