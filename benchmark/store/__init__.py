"""A run directory: schema, atomic files, lock, cells."""
