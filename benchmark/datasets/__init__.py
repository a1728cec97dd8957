"""Retrieval sets: layouts on disk, protocols, manifests and decoded images."""
