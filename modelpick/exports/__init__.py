"""The same plan for other engines: each export writes a file that another tool launches."""
