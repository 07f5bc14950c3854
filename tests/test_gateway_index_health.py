"""What became of the index is said with its cause and what to do, in both languages."""

from __future__ import annotations

import pytest

from simpang.health import CRITICAL, WARNING, HealthItem
from simpang.index_health import index_items
from simpang_buffer.index.keeper import Condition
from simpang_buffer.index.recovery import CAUSES, Cause, Due

NOW_US = 1_763_000_000_000_000
DAY_US = 86_400_000_000


def items(found: Condition) -> list[HealthItem]:
    return list(index_items(found, "/srv/simpang/index.db", NOW_US))


def test_a_whole_index_is_no_item() -> None:
    assert items(Condition(backup_us=NOW_US - DAY_US)) == []
    assert items(Condition(state="adopting")) == []


@pytest.mark.parametrize("cause", CAUSES)
def test_a_rebuild_says_why_and_how_far(cause: Cause) -> None:
    due = Due(cause, NOW_US - 5, aside="index.db.damaged-1", detail="malformed")

    (item,) = items(Condition("rebuilding", due, NOW_US - 5, "malformed", 12, 90))

    assert (item.code, item.severity) == ("index-rebuilding", WARNING)
    assert item.evidence["cause"] == cause
    for words in (item.cause.en, item.cause.id):
        assert "12/90" in words
        assert ("index.db.damaged-1" in words) == (cause in ("damaged", "foreign"))
    assert item.remedy.en and item.remedy.id
    (unlisted,) = items(Condition("rebuilding", due))
    assert "(?)" in unlisted.cause.en


def test_an_index_that_fails_is_critical_and_names_the_fault() -> None:
    (item,) = items(Condition("failing", None, NOW_US, "index.db cannot be written (read-only)"))

    assert (item.code, item.severity) == ("index-failing", CRITICAL)
    assert "read-only" in item.cause.en and "read-only" in item.cause.id
    assert "/srv/simpang/index.db" in item.remedy.en


def test_files_that_could_not_be_taken_in_are_counted() -> None:
    (item,) = items(Condition(problems=3))

    assert (item.code, "3 media files" in item.cause.en) == ("files-not-indexed", True)


@pytest.mark.parametrize(("age_days", "said"), [(None, True), (1, False), (9, True)])
def test_a_missing_backup_is_worth_a_word_after_a_week(age_days: int | None, said: bool) -> None:
    backup_us = None if age_days is None else NOW_US - age_days * DAY_US

    found = items(Condition(backup_us=backup_us, backup_skipped="it takes 200 MB, and only 3 MB are free"))

    assert [item.code for item in found] == (["index-not-backed-up"] if said else [])
    assert all("only 3 MB are free" in item.cause.id for item in found)
