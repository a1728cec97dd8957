"""Attacks: threats, norms, objectives, optimisers, presets. Reads no files, ranks nothing, prints nothing."""
