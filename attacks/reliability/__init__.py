"""How far to believe a number: checks of a model and of an attack, and what each finding means."""
