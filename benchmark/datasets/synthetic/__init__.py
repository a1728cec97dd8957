"""Drawn people: a retrieval set that needs no download, the same on every machine down to the last bit."""
