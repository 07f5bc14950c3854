"""Which cameras there are, which of their streams should be recorded, and how each is doing."""
