"""Training by a recipe: what composes the loop of `models`, the objectives of `attacks` and a data set."""
