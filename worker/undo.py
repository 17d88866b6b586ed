"""Take back what was done when a later step fails."""

from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Self

from worker.errors import DatabaseUnavailable, LeftBehind, told
from worker.ports import Progress

P = ParamSpec("P")

_WayBack = tuple[str, Callable[[], object]]
"""Its name, for who has to finish it by hand, and the call."""


class Undo:
    """A stack of ways back, walked only if the block raises before the commit point.

    Register the way back *before* the step: a step that timed out may still have happened, so
    every way back must accept that there is nothing to do. They are walked newest first. One
    that fails ends the walk, since the older steps are what the newer ones stand on: a host must
    not disconnect a volume that the guest still has (docs/adr/0004). Then LeftBehind leaves the
    block and names what is left; else the error that started the walk does.

    An operation that is run again may fail before it comes to a step that its earlier run had
    done. What ``earlier`` names is taken back too, and first, for it stands on all the rest. A way
    back that finds such a step too far gone passes the commit point: that ends the walk, too.
    """

    def __init__(self, progress: Progress) -> None:
        """Start with nothing to take back, in the operation whose progress this is."""
        self._progress = progress
        self._ways_back: list[_WayBack] = []
        self._earlier: list[_WayBack] = []

    def earlier(
        self, step: str, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Add the way back of a step that an earlier run of the operation began, if it did.

        To be said in the order of the steps, before the first of them.
        """
        if self._progress.reached(step):
            self._earlier.append(_named(call, lambda: call(*args, **kwargs)))

    def by(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Add a way back; the one of an earlier run's same step stands where this one does."""
        way = _named(call, lambda: call(*args, **kwargs))
        self._earlier = [known for known in self._earlier if known[0] != way[0]]
        self._ways_back.append(way)

    def commit_point(self) -> None:
        """From here the operation only goes forward, in this run and in any later one."""
        self._progress.pass_commit_point()

    def __enter__(self) -> Self:
        """Return the stack."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Walk back if an error leaves the block.

        Without the journal nothing is taken back, for it could not be written down: the
        operation is run again once the database is there.
        """
        if not isinstance(error, Exception) or isinstance(error, DatabaseUnavailable):
            return
        if self._progress.past_commit_point:
            return
        ways = self._ways_back + self._earlier
        while ways and not self._progress.past_commit_point:
            name, call = ways.pop()
            failure = _failure_of(call)
            if failure is not None:
                left = [name, *(way for way, _ in reversed(ways))]
                raise LeftBehind(_not_taken_back(left, failure, error)) from failure


def _named(call: Callable[..., object], bound: Callable[[], object]) -> _WayBack:
    return getattr(call, "__qualname__", repr(call)).replace("_", " ").strip(), bound


def _not_taken_back(left: list[str], failure: Exception, error: Exception) -> str:
    said = f"{told(error)}; not taken back ({told(failure)})"
    return f"{said}: {', '.join(dict.fromkeys(left))}"


def _failure_of(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except DatabaseUnavailable:
        raise
    except Exception as failure:  # noqa: BLE001 - whatever it was, the walk ends
        return failure
    return None
