"""Does it fit? Memory of a workload on a model, as a sum of named parts. Pure."""
