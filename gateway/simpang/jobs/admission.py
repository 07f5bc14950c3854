"""May this job send now? A pure function of the policy, the hour and what the month has cost."""

from __future__ import annotations

from datetime import datetime

from simpang.config.model import Uplink
from simpang.jobs.model import Priority, WaitingFor
from simpang.jobs.windows import is_open


def waits_for(policy: Uplink, priority: Priority, local: datetime, month_bytes: int) -> WaitingFor | None:
    """What a job of this priority has to wait for, or None when it may send.

    The hours bind backfill and bulk. The month's cap binds all but urgent clips. On a metered link
    backfill and bulk go only where the installer named hours for them.
    """
    if priority is not Priority.URGENT and policy.month_cap is not None and month_bytes >= policy.month_cap:
        return WaitingFor.CAP
    if not priority.scavenger:
        return None
    if not is_open(policy.windows, local) or (policy.metered and not policy.windows):
        return WaitingFor.WINDOW
    return None
