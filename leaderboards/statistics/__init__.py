"""Intervals and tests that know that images of one person are not independent."""
