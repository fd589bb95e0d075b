"""Clients of a served model: what each of their features does, or that it is refused by name."""
