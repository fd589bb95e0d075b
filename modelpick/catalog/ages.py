"""How old the facts are that an answer stands on, in one line, and from when on that is a warning."""

from collections.abc import Mapping, Sequence
from datetime import date

OLD_AFTER_DAYS = 90
"""Beyond it an answer warns: a quarter, in which boards, licenses and prices have all changed before (facts/)."""


def age_in_days(day: str, today: date) -> int:
    """Days since `day`; a month counts from its first day. Below zero: the clock is behind the facts."""
    return (today - date.fromisoformat(day if len(day) > 7 else f"{day}-01")).days


def ages(as_of: Mapping[str, str], kinds: Sequence[str], today: date) -> str:
    """One line: "prices 2026-11-20 (10 days), models 2026-11-22 (8 days)"."""
    return ", ".join(f"{kind} {as_of[kind]} ({_days(age_in_days(as_of[kind], today))})" for kind in kinds)


def warning(as_of: Mapping[str, str], kinds: Sequence[str], today: date) -> str | None:
    """What an answer must warn of: facts of more than 90 days, or a clock that is behind them. None: nothing."""
    old = [kind for kind in kinds if age_in_days(as_of[kind], today) > OLD_AFTER_DAYS]
    if any(age_in_days(as_of[kind], today) < 0 for kind in kinds):
        return f"the clock says {today}, which is before the day of the facts: their age is unknown"
    if old:
        listed = " and ".join(f"{kind} of {as_of[kind]}" for kind in old)
        return f"{listed}: more than {OLD_AFTER_DAYS} days old; run `modelpick update`"
    return None


def _days(count: int) -> str:
    return "dated after today" if count < 0 else "1 day" if count == 1 else f"{count} days"
