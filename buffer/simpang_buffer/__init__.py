"""Records cameras' streams into a rolling buffer of media files and an index, and reads them back.

Knows no ONVIF and no central server. Design record: buffer/README.md.
"""
