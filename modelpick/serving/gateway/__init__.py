"""The one place that reads a client's request: parsed once, checked, bounded, written anew for the server behind it."""
