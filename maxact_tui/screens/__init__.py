"""Screens: the monitor, one site, and what opens over them."""
