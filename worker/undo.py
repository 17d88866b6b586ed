"""Take back what was done when a later step fails."""

from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Self

from worker.errors import DatabaseUnavailable, LeftBehind, told
from worker.ports import Progress

P = ParamSpec("P")


class Undo:
    """A stack of ways back, walked only if the block raises before the commit point.

    Register the way back *before* the step: a step that timed out may still have happened, so
    every way back must accept that there is nothing to do. They are walked newest first. One
    that fails ends the walk, since the older steps are what the newer ones stand on: a host must
    not disconnect a volume that the guest still has (docs/adr/0004). Then LeftBehind leaves the
    block and names what is left; else the error that started the walk does.
    """

    def __init__(self, progress: Progress) -> None:
        """Start with nothing to take back, in the operation whose progress this is."""
        self._progress = progress
        self._ways_back: list[tuple[str, Callable[[], object]]] = []

    def by(self, call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Add a way back."""
        name = getattr(call, "__qualname__", repr(call))
        self._ways_back.append((name, lambda: call(*args, **kwargs)))

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
        while self._ways_back:
            name, call = self._ways_back.pop()
            failure = _failure_of(call)
            if failure is not None:
                raise LeftBehind(self._left(name, failure, error)) from failure

    def _left(self, name: str, failure: Exception, error: Exception) -> str:
        undone = [name, *(way for way, _ in reversed(self._ways_back))]
        return f"{told(error)}; not taken back ({told(failure)}): {', '.join(undone)}"


def _failure_of(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except DatabaseUnavailable:
        raise
    except Exception as failure:  # noqa: BLE001 - whatever it was, the walk ends
        return failure
    return None
