"""What media folders lie on: kind of disk, how often it is flushed, what is written to it, how worn it is."""
