"""What exists: model facts with provenance."""
