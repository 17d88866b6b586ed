"""What opens streams: the one thing that requests see of all this."""

from worker.api.asked import Who
from worker.api.streams.events import Last
from worker.api.streams.hub import Hear, Hub
from worker.api.streams.inbox import Listening
from worker.api.streams.owners import Owners
from worker.api.streams.stream import HEARTBEAT, LiveStream, OperationStream, Source, Stream
from worker.persistence.fleet import Fleet, FleetUpdates, Told


class Streams:
    """Opens streams, so many at once; shared by threads."""

    def __init__(
        self,
        hear: Hear,
        fleet: Fleet,
        table: FleetUpdates,
        *,
        most: int,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        """``hear`` is entered when the first stream opens; times in seconds."""
        owners = Owners(fleet)
        self.hub = Hub(hear, table, owners, most=most)
        self._source = Source(
            hub=self.hub, fleet=fleet, table=table, owners=owners, heartbeat=heartbeat
        )

    @property
    def open_streams(self) -> int:
        """How many are open."""
        return self.hub.open_streams

    @property
    def most(self) -> int:
        """How many may be."""
        return self.hub.most

    def live(self, listening: Listening, who: Who, last: Last | None) -> Stream:
        """Return the updates from now on, or from the last that was had; raises Refused (503)."""
        return LiveStream(self._source, listening, who, last)

    def of_operation(self, told: Told, who: Who, last: Last | None) -> Stream:
        """Return an operation's updates up to its end; raises Refused (503)."""
        return OperationStream(self._source, told, who, last)

    def stop(self) -> None:
        """Have all of them end."""
        self.hub.stop()
