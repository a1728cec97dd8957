"""Ranking: exact, chunked, aware of ties."""
