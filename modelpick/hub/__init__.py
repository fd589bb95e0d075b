"""The whole Hub and the price lists: what is new since the facts in force, and an audit of every model."""
