"""The same plan for other engines: each export writes what another tool launches."""
