"""One reader per kind of file: text in, candidates out. Pure; no reader raises on any text."""
