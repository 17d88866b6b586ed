"""A client's connections: what calls a worker and what casts to it."""

from datetime import datetime
from typing import Any, Self, TypedDict

from worker.errors import WorkerError
from worker.model.ids import new_uuid
from worker.rpc.bus import BusSettings
from worker.rpc.caller import Caller

Json = dict[str, Any]


class Sending(TypedDict, total=False):
    """What each operation may be given beside its arguments.

    The id is drawn when none is given. One that has not begun at ``expires_at`` never will.
    """

    operation_id: str | None
    expires_at: datetime | None
    request_id: str | None


class Sender:
    """Calls a worker and casts to it, on one bus; may be shared by threads."""

    def __init__(
        self,
        url: str,
        *,
        quorum: bool = True,
        name: str = "blockworker",
        timeout: float = 10.0,
        reach: float = 1.8,
        reservation_tries: int = 3,
    ) -> None:
        """Reach the bus at oslo.messaging's transport ``url``; times in seconds.

        ``reach`` is how long a worker may take to show that it is there at all.
        """
        self._settings = BusSettings(
            url=url, host="client", quorum=quorum, name=name, connect_timeout=reach
        )
        self._tries = reservation_tries
        self._caller = Caller(self._settings, timeout=timeout, reach=reach)

    def __enter__(self) -> Self:
        """Return the client itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close its connections."""
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._caller.close()

    def call(
        self,
        host: str,
        method: str,
        *,
        request_id: str | None = None,
        **arguments: Any,  # noqa: ANN401 - plain JSON
    ) -> Any:  # noqa: ANN401
        """Call any method by name and return its answer.

        An operation (give it an ``operation_id``) is answered as accepted, once the journal has
        it. Raises what the worker answers; WorkerUnreachable within ``reach`` when none listens
        there; NoAnswer when one does but the answer did not come; BrokerUnavailable.
        """
        return self._caller.call(host, method, arguments, request_id)

    def cast(
        self,
        host: str,
        method: str,
        *,
        operation_id: str | None = None,
        expires_at: datetime | None = None,
        request_id: str | None = None,
        **arguments: Any,  # noqa: ANN401 - plain JSON
    ) -> str:
        """Send any operation by name; return its id, drawn here unless it is given.

        Sent again with the same id it changes nothing. Raises WorkerUnreachable within ``reach``
        when none listens there; BrokerUnavailable.
        """
        drawn = operation_id or new_uuid()
        arguments["operation_id"] = drawn
        if expires_at is not None:
            arguments["expires_at"] = expires_at.isoformat()
        self._caller.cast(host, method, arguments, request_id)
        return drawn


def mapping(answer: Any) -> Json:  # noqa: ANN401 - off the wire
    """Return the answer, which must be a mapping."""
    if not isinstance(answer, dict):
        raise WorkerError("the answer is no mapping")
    return answer


def listed(answer: Any) -> list[Json]:  # noqa: ANN401 - off the wire
    """Return the answer, which must be a list."""
    if not isinstance(answer, list):
        raise WorkerError("the answer is no list")
    return answer
