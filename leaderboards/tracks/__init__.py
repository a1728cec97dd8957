"""Tracks that ship with the package: one versioned file each; `leaderboards/track.py` reads them."""
