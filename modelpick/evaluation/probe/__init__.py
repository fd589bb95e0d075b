"""The reasoning probe: does a model conclude what the premises do not allow?"""
