"""Reads recorded footage back. `clips.clips` is the only reader; everything else is cut from a Clip."""
