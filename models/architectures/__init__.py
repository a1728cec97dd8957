"""Networks written here, by name."""
