"""Run checks beside each other: one that hangs or breaks is a line, and costs the others nothing.

A thread cannot be stopped. One that hangs is left behind; it ends with the process.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeVar

from worker.errors import WorkerError
from worker.health.checks.masking import Mask
from worker.model.finding import Finding, Verdict

ResultT = TypeVar("ResultT")

LOOK_AGAIN = "look again; if it stays so, look there by other means"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A look, and what it is at; it yields a finding for each thing that it says."""

    name: str
    look: Callable[[], Iterable[Finding]]


Found = Mapping[str, tuple[Finding, ...]]
"""What each check said, in the order in which they were asked."""


def examine(
    checks: Sequence[Check],
    *,
    seconds: float,
    patience: float,
    tell: Callable[[tuple[str, ...]], object],
    mask: Mask,
) -> Found:
    """Return what every check found; one that is not back after so many seconds has failed.

    After ``patience`` seconds ``tell`` hears once which ones are not back yet.
    """
    begun = time.monotonic()
    running = [_Running(check) for check in checks]
    _wait(running, begun + min(patience, seconds))
    late = tuple(each.name for each in running if not each.done.is_set())
    if late:
        tell(late)
        _wait(running, begun + seconds)
    return {each.name: _masked(each.said(seconds), mask) for each in running}


def within(seconds: float, call: Callable[[], ResultT]) -> ResultT | None:
    """Return what the call returns; None if it raises, or is not back in time.

    For what a check would like to know and can do without: it has a check of its own.
    """
    found: list[ResultT] = []

    def run() -> None:
        with suppress(Exception):
            found.append(call())

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


class _Running:
    """One check in a thread of its own; what it has said so far counts."""

    def __init__(self, check: Check) -> None:
        self.name = check.name
        self.done = threading.Event()
        self._look = check.look
        self._found: list[Finding] = []
        threading.Thread(target=self._run, name=f"check-{check.name}", daemon=True).start()

    def said(self, seconds: float) -> tuple[Finding, ...]:
        """Return what it has said, and whether it hangs."""
        done, found = self.done.is_set(), tuple(self._found)
        return found if done else (*found, _hangs(seconds))

    def _run(self) -> None:
        try:
            for each in self._look():
                self._found.append(each)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this check's alone
            self._found.append(_broken(error))
        self.done.set()


def _wait(running: Iterable[_Running], until: float) -> None:
    for each in running:
        each.done.wait(max(0.0, until - time.monotonic()))


def _broken(error: Exception) -> Finding:
    kind = error.code if isinstance(error, WorkerError) else type(error).__name__
    text = " ".join(str(error).split())
    return Finding(verdict=Verdict.FAILED, said=f"{text} [{kind}]", do=LOOK_AGAIN)


def _hangs(seconds: float) -> Finding:
    said = f"gave no answer within {seconds:g} s"
    return Finding(verdict=Verdict.FAILED, said=said, do=LOOK_AGAIN)


def _masked(findings: tuple[Finding, ...], mask: Mask) -> tuple[Finding, ...]:
    return tuple(
        replace(each, said=mask.over(each.said), do=None if each.do is None else mask.over(each.do))
        for each in findings
    )
