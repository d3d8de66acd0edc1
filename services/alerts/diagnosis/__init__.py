"""From features to named faults: which hypothesis explains them, how surely, and what else would."""
