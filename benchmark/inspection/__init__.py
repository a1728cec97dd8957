"""Whether a model keeps its contract: a minute of checks, each with what was measured and what to do."""
