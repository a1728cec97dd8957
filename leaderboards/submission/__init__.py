"""Submissions: what a stranger sends, checked before it is believed."""
