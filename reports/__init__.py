"""Tables, curves and pages, computed from rows alone."""
