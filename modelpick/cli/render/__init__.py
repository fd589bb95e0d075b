"""Screens: what a command's answer looks like on a terminal."""
