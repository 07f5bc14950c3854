"""state.db: what the gateway must remember over a restart, apart from footage."""
