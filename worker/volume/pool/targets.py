"""What a tgtd is made to have: looked at first, so that nothing is done twice or half."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from worker.volume.pool.chap import ChapLogin
from worker.volume.pool.tgt import LUN, Refusal, Tgt, TgtRefusal
from worker.volume.pool.tgt_show import Target

_TRIES = 8
"""For the number of a new target: others of a shared tgtd may take it since it was looked at."""

_AT_WORK_SECONDS, _POLL = 10.0, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A volume as a target: its file as the LUN, and who may log in, as whom.

    ``serial`` is what the LUN says of itself wherever it is exported, and whenever. With ``thin``
    it takes discards.
    """

    iqn: str
    path: str
    serial: str
    thin: bool = False
    logins: tuple[ChapLogin, ...] = ()
    initiators: frozenset[str] = frozenset()


class Targets:
    """The targets of a tgtd. Each call raises VolumeServiceUnavailable."""

    def __init__(self, tgt: Tgt) -> None:
        self._tgt = tgt

    def all(self) -> tuple[Target, ...]:
        """Return every target; one that does not run has none."""
        return self._tgt.targets() if self._tgt.runs() else ()

    def find(self, iqn: str) -> Target | None:
        """Return the target, if it is there."""
        return self._tgt.target(iqn) if self._tgt.runs() else None

    def names(self) -> frozenset[str]:
        """Return what all targets are called."""
        return frozenset(self._tgt.names()) if self._tgt.runs() else frozenset()

    def have(self, export: Export) -> None:
        """Have the export as it is described, and no one else in it.

        Nobody is let in before there is a password to be asked for, nor a moment without one.
        """
        target = self._revoked(export) or self._make(export.iqn)
        self._lend(target, export)
        for login in export.logins:
            if login.user not in target.users:
                self._tgt.make_user(login.user, login.password)
                self._tgt.ask_for(target.number, login.user)
        for initiator in export.initiators - target.initiators:
            self._tgt.allow(target.number, initiator)

    def drop(self, iqn: str, users: Iterable[str] = ()) -> None:
        """Have no such target, none of its users, and none of these."""
        target = self.find(iqn)
        if target is not None:
            self._forbid(target, but=frozenset())
            self._closed(target, but=frozenset())
            self._revoke(target, first=0)
            self._tgt.drop_target(target.number)
            self._forget(target.users)
        self.forget_users(users)

    def renew(self, export: Export) -> None:
        """Have the LUN opened anew, under who is logged in: tgtd reads a file's size but once.

        They are sent away for that moment, and come back by themselves; what they had asked for
        and not heard of they ask for again.
        """
        target = self.find(export.iqn)
        if target is None:
            return
        self._forbid(target, but=frozenset())
        self._closed(target, but=frozenset())
        try:
            self._when_idle(lambda: self._tgt.drop_lun(target.number))
        finally:
            self.have(export)

    def forget_users(self, users: Iterable[str]) -> None:
        """Forget users that no target may ask for any more."""
        if self._tgt.runs():
            self._forget(users)

    def _make(self, iqn: str) -> Target:
        for left in reversed(range(_TRIES)):
            number = _free_number(self._tgt.names().values())
            try:
                self._tgt.make_target(number, iqn)
            except TgtRefusal as refusal:
                if refusal.number != Refusal.TARGET_EXISTS or not left:
                    raise
            else:
                break
        return Target(number=number, iqn=iqn)

    def _lend(self, target: Target, export: Export) -> None:
        there = next((lun for lun in target.luns if lun.number == LUN), None)
        if there is None:
            self._tgt.make_lun(target.number, export.path)
        if there is None or there.serial != export.serial:
            # Unless told otherwise tgtd counts its targets, and says that: another after a start.
            says = f"scsi_id={export.serial},scsi_sn={export.serial}"
            thin = ",thin_provisioning=1" if export.thin else ""
            self._tgt.describe_lun(target.number, says + thin)

    def _forbid(self, target: Target, *, but: frozenset[str]) -> None:
        for initiator in target.initiators - but:
            self._tgt.forbid(target.number, initiator)

    def _closed(self, target: Target, *, but: frozenset[str]) -> Target | None:
        """End the sessions of all others, by a new look: one may have logged in until just now."""
        now = self.find(target.iqn)
        for session in now.sessions if now is not None else ():
            if session.initiator not in but:
                self._tgt.close(target.number, session)
        return now

    def _revoked(self, export: Export) -> Target | None:
        """Return the target, if it is there, once nobody is in it who is not to be.

        Of several users tgtd can take none but the last away, and dies otherwise (seen with
        1.0.85). So those after it go too, and are given back.
        """
        target = self.find(export.iqn)
        if target is None:
            return None
        strange = set(target.users) - {login.user for login in export.logins}
        first = min(map(target.users.index, strange), default=len(target.users))
        # Who is asked for no password must not be let in, not for a moment.
        self._forbid(target, but=export.initiators if first or not strange else frozenset())
        self._revoke(target, first=first)
        self._forget(strange)
        return self._closed(target, but=export.initiators)

    def _revoke(self, target: Target, *, first: int) -> None:
        for user in reversed(target.users[first:]):
            self._tgt.ask_no_more_for(target.number, user)

    def _forget(self, users: Iterable[str]) -> None:
        for user in users:
            self._tgt.drop_user(user)

    @staticmethod
    def _when_idle(call: Callable[[], None]) -> None:
        """What was asked for before the session ended is carried out to its end."""
        end = time.monotonic() + _AT_WORK_SECONDS
        while True:
            try:
                call()
            except TgtRefusal as refusal:
                if refusal.number != Refusal.LUN_ACTIVE or time.monotonic() > end:
                    raise
                time.sleep(_POLL)
            else:
                return


def _free_number(numbers: Iterable[int]) -> int:
    taken = set(numbers)
    return next(number for number in range(1, len(taken) + 2) if number not in taken)
