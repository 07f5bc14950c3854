"""The gateway: which cameras, what to keep, who may ask, what may be sent and when.

Design record: gateway/README.md.
"""

__version__ = "0.1.0"
