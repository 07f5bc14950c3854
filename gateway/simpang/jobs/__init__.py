"""Footage that somebody asked for, on its way to a centre's store: jobs, their states, their pace."""
