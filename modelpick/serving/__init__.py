"""Serving: an existing server is chosen, sized, guarded and kept running; nothing here answers a prompt itself."""
