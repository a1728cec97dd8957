"""What a model is: embedders, their pixel-space wrapper, architectures, weights and the registry of names."""
