"""Standings, submissions and verdicts, computed from rows alone."""
