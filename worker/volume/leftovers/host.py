"""What volumes left on this host, by the kernel's files and os-brick's tools."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import assert_never

from worker.errors import ConnectFailed
from worker.model.connection import Connection
from worker.model.leftover import Leftover, LeftoverKind, Part
from worker.ports import Leftovers
from worker.volume.leftovers.found import Finder
from worker.volume.leftovers.kernel import Kernel
from worker.volume.leftovers.names import marks_of
from worker.volume.leftovers.tools import Tools


class HostLeftovers(Leftovers):
    """Sessions, maps, controllers and mounts of this host.

    ``mount_bases`` are the folders below which volumes are mounted; mounts elsewhere are not
    looked at. With another initiator than the kernel's, its sessions are somebody else's: then
    ``sessions`` is off, and they are not looked at either.
    """

    def __init__(
        self,
        tools: Tools,
        *,
        mount_bases: Sequence[str] = (),
        sessions: bool = True,
        kernel: Kernel | None = None,
    ) -> None:
        self._tools = tools
        self._bases = tuple(base.rstrip("/") for base in mount_bases)
        self._sessions = sessions
        self._kernel = kernel or Kernel()

    def list(self) -> tuple[Leftover, ...]:
        """Return all that is there now, in use or not."""
        found = Finder(self._kernel, self._bases).all()
        unseen = () if self._sessions else (LeftoverKind.SESSION,)
        return tuple(thing for thing in found if thing.kind not in unseen)

    def marks(self, connections: Sequence[Connection]) -> tuple[frozenset[str], ...]:
        """Return, for each connection, what it calls the things that it leads to."""
        return tuple(marks_of(connection, self._bases) for connection in connections)

    def remove(self, leftover: Leftover) -> None:
        """Take it from this host; raises ConnectFailed when it is in use or does not go."""
        there = self._same(leftover)
        if there is None:
            return
        _check_unused(there)
        try:
            self._take_away(there)
        except Exception as error:
            said = " ".join(str(error).split())
            message = f"cannot remove {there}: {type(error).__name__}: {said}"
            raise ConnectFailed(message) from error
        self._check_gone(there)

    def _same(self, leftover: Leftover) -> Leftover | None:
        """Return it as it is now, with the named parts that are still the same ones."""
        there = next((each for each in self.list() if each.key == leftover.key), None)
        if there is None or (there.about, there.wwid) != (leftover.about, leftover.wwid):
            return None
        known = {(part.name, part.marks, part.wwid) for part in leftover.parts}
        parts = tuple(each for each in there.parts if (each.name, each.marks, each.wwid) in known)
        if not parts and there.parts:
            return None
        if there.kind is not LeftoverKind.SESSION and len(parts) < len(there.parts):
            message = f"{there} is another by now than {leftover}"
            raise ConnectFailed(message)
        return replace(there, parts=parts)

    def _check_gone(self, leftover: Leftover) -> None:
        there = self._same(leftover)
        if there is not None:
            message = f"{there} is still there after it was removed"
            raise ConnectFailed(message)

    def _take_away(self, there: Leftover) -> None:
        match there.kind:
            case LeftoverKind.SESSION if there.parts:
                for part in there.parts:
                    lun = int(there.facts[part.name])
                    self._tools.remove_lun(there.facts["portal"], there.facts["iqn"], lun)
            case LeftoverKind.SESSION:
                self._tools.alone(partial(self._log_out, there))
            case LeftoverKind.MAP:
                self._alone("multipath", "-f", there.facts["map"])
            case LeftoverKind.CONTROLLER:
                self._alone("nvme", "disconnect", "-d", there.name)
            case LeftoverKind.MOUNT:
                # What has a file open there keeps it: it is neither forced nor made lazy.
                self._alone("umount", there.name)
            case LeftoverKind.EXPORT | LeftoverKind.SECRET:
                raise AssertionError(there)
            case _:
                assert_never(there.kind)

    def _log_out(self, there: Leftover) -> None:
        """Only while no device has come: another lane may have begun to connect one."""
        now = self._same(there)
        if now is not None:
            portal, iqn = there.facts["portal"], there.facts["iqn"]
            for what in (("--logout",), ("--op", "delete")):
                self._tools.run("iscsiadm", "-m", "node", "-T", iqn, "-p", portal, *what)

    def _alone(self, *words: str) -> None:
        self._tools.alone(partial(self._tools.run, *words))


def _check_unused(there: Leftover) -> None:
    pieces: tuple[Leftover | Part, ...] = (there, *there.parts)
    used = [piece.used for piece in pieces if piece.used is not None]
    used += [f"{name} is over {part.name}" for part in there.parts for name in part.held]
    if used:
        message = f"{there} is in use: {'; '.join(used)}"
        raise ConnectFailed(message)
