"""What can go wrong between the gateway and a store, by what the sender does next.

StoreError
├── StoreAway      nobody answered, or the answer was cut: try again soon
├── StoreBusy      503 SlowDown, 429, 500: try again slowly
├── StoreRefused   403, 404 of the bucket, a redirect, a certificate that is not trusted: a person must act
└── StoreDiffers   an object of this name exists with other bytes: never overwritten, a person must look
"""

from __future__ import annotations


class StoreError(Exception):
    """`str()` says which store, what happened and what a person can do; it never holds a key."""


class StoreAway(StoreError):
    pass


class StoreBusy(StoreError):
    pass


class StoreRefused(StoreError):
    pass


class StoreDiffers(StoreError):
    pass
