"""Who may do what: one ladder, each rung includes those below it."""

from __future__ import annotations

import enum


class Role(enum.IntEnum):
    """The least that a caller of a route must be.

    OPEN: anybody who reaches the port. LOCAL: anybody on this machine (the loopback listener). VIEWER:
    status, no pictures. TECHNICIAN: also live, playback, tests. INSTALLER: everything; whoever can open the
    Unix socket.
    """

    OPEN = 0
    LOCAL = 1
    VIEWER = 2
    TECHNICIAN = 3
    INSTALLER = 4

    @property
    def word(self) -> str:
        return self.name.lower()


# What a link to the page or a session may be given.
GRANTABLE = (Role.VIEWER, Role.TECHNICIAN, Role.INSTALLER)
