"""Which models does a code base use, and may it? Finds model ids where model ids stand, and judges each once."""
