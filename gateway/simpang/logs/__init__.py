"""What the daemon says on stderr: readable or JSON, and never a secret."""
