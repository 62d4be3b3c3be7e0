"""Paywindow's domain: orders are charged at most once, inside their window, and every step is on record."""
