"""Weights: reading them, and those that the package brings along: `NAME.safetensors`, and `NAME.json`, its card."""
