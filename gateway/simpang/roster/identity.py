"""Who a camera is: what it says of itself, and what is remembered of it."""

from __future__ import annotations

from simpang.roster.known import Known
from simpang.roster.plan import Wanted
from simpang.roster.view import DeviceFacts


def facts_of(row: Known | None, wanted: Wanted) -> DeviceFacts:
    """What is known of a camera before it has answered."""
    if row is None:
        return DeviceFacts(epr=wanted.epr or None)
    return DeviceFacts(
        make=row.make or None,
        model=row.model or None,
        firmware=row.firmware or None,
        serial=row.serial or None,
        epr=row.epr or None,
        mac=row.mac or None,
    )


def row_of(wanted: Wanted, facts: DeviceFacts, before: Known | None, now_us: int) -> Known:
    """What is remembered of a camera that has just answered. before: the row that it had."""
    return Known(
        id=wanted.id,
        origin="config" if wanted.origin == "config" else "adopted",
        epr=facts.epr or (before.epr if before is not None else ""),
        address=wanted.target or wanted.address,
        name=wanted.name,
        make=facts.make or "",
        model=facts.model or "",
        firmware=facts.firmware or "",
        serial=facts.serial or "",
        mac=facts.mac or "",
        adopted_us=before.adopted_us if before is not None else now_us,
        seen_us=max(now_us, before.adopted_us) if before is not None else now_us,
    )


def is_another(row: Known, facts: DeviceFacts, wanted: Wanted) -> bool:
    """Whether what answers is certainly not the camera that the row is about.

    Only for one that was found by its address: serial numbers are sometimes shared or placeholders, and MACs
    random, so a device counts as another one only if every fact that both know differs.
    """
    if wanted.origin != "adopted" or (row.epr and row.epr == wanted.epr):
        return False
    pairs = [(row.serial, facts.serial), (row.mac, facts.mac), (row.make, facts.make)]
    both = [(ours, theirs) for ours, theirs in pairs[:2] if ours and theirs]
    return bool(both) and all(ours != theirs for ours, theirs in both)
