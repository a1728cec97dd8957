"""Running a plan: batches, clean features, attacks, scores, rows."""
