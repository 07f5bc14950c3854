"""Finds ONVIF cameras and asks them questions. No disk, no database, no video.

Design record: onvif/README.md.
"""
