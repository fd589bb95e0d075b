"""Answers as pages that people look at: one self-contained HTML file, nothing loaded from anywhere."""
