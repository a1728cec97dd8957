"""Grid files: read, checked, expanded."""
