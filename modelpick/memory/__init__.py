"""Does it fit? GPU memory as a sum of named parts."""
