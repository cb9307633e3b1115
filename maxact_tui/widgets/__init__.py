"""Widgets on Textual's Line API: they repaint only what changed."""
