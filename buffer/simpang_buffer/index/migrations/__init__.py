"""How an index of each older schema becomes one of the next: NNNN.sql makes schema NNNN."""
