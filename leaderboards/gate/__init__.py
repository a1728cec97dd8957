"""The gate of a change: cells of two runs joined on what they mean, verdicts, baselines."""
