"""How fast? A roofline model and its calibration. Pure."""
