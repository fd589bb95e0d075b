"""Which model, where, for how much: placement, recommend, compare, plan."""
