"""modelpick: which open language model may we use, does it fit, what does it cost: then do it."""

__version__ = "0.1.0"
