"""One thin file a command, named after it."""
