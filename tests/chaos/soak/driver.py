"""Asks what the plan says about one guest, and keeps what was asked."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.chaos.soak.ground import Ground
from tests.chaos.soak.plan import Act, Deed
from tests.chaos.stage import soon
from worker.errors import Unavailable, WorkerError
from worker.model.ids import new_uuid

PATIENCE = 180.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """An operation that was cast, and what it was cast for."""

    id: str
    deed: Deed
    method: str
    arguments: dict[str, Any]


@dataclass(kw_only=True)
class Driver:
    """One guest's caller: it does not wait for an operation's end unless the next deed must.

    While it is ``held`` it asks nothing new.
    """

    ground: Ground
    number: int
    find: Callable[[str], None]
    held: Callable[[], bool]
    sent: list[Sent] = field(default_factory=list)
    rows: dict[tuple[int, int], str] = field(default_factory=dict)
    casts: int = 0
    calls: int = 0
    _last: dict[int, str] = field(default_factory=dict)
    _later: list[tuple[int, Sent]] = field(default_factory=list)

    def run(self, deeds: Iterable[Deed]) -> None:
        """Do all, then wait until all that was sent has ended."""
        try:
            for count, deed in enumerate(deeds):
                self._wait_while_held()
                self._redeliver(count)
                self._do(count, deed)
            self._redeliver(None)
            for sent in self.sent:
                self._wait_for(sent.id, ended=True)
        except Exception as error:  # noqa: BLE001 - a caller that gives up is a finding
            self.find(f"guest {self.number}: {type(error).__name__}: {error}")

    def start(self, deeds: Iterable[Deed]) -> threading.Thread:
        """Do all on a thread of its own."""
        thread = threading.Thread(target=self.run, args=(list(deeds),), daemon=True)
        thread.start()
        return thread

    def _wait_while_held(self) -> None:
        if not soon(lambda: not self.held(), PATIENCE):
            message = f"held for more than {PATIENCE} s"
            raise AssertionError(message)

    def _do(self, count: int, deed: Deed) -> None:
        if deed.volume in self._last:
            # A call is not in the lane; a cast that overtook another one would be another plan.
            self._wait_for(self._last[deed.volume], ended=deed.act.is_call)
        match deed.act:
            case Act.RESERVE:
                self._reserve(deed)
            case Act.RELEASE:
                self._call("release_block_device", bdm_uuid=self._row(deed))
            case _:
                self._cast(count, deed)

    def _reserve(self, deed: Deed) -> None:
        row = new_uuid()
        self.rows[deed.volume, deed.row] = row
        self._call(
            "reserve_block_device_name",
            instance_uuid=self._guest,
            volume_id=self._volume(deed),
            bdm_uuid=row,
        )

    def _cast(self, count: int, deed: Deed) -> None:
        sent = self._sent(deed)
        self.sent.append(sent)
        self._last[deed.volume] = sent.id
        for _ in range(1 + deed.copies):
            self._send(sent.id, sent.method, sent.arguments)
        if deed.forged:
            self._wait_for(sent.id, ended=False)
            self._send(sent.id, sent.method, sent.arguments | {"bdm_uuid": new_uuid()})
        if deed.later:
            self._later.append((count + deed.later, sent))

    def _sent(self, deed: Deed) -> Sent:
        arguments: dict[str, Any] = {"instance_uuid": self._guest, "bdm_uuid": self._row(deed)}
        method = "attach_volume" if deed.act is Act.ATTACH else "detach_volume"
        if method == "detach_volume":
            arguments["volume_id"] = self._volume(deed)
        if deed.act is Act.EXPIRED:
            arguments["expires_at"] = datetime.now(UTC) - timedelta(seconds=1)
        return Sent(id=new_uuid(), deed=deed, method=method, arguments=arguments)

    def _redeliver(self, count: int | None) -> None:
        """Send again what is due: late, and out of order."""
        due = [sent for at, sent in self._later if count is None or at <= count]
        self._later = [each for each in self._later if each[1] not in due]
        for sent in due:
            self._send(sent.id, sent.method, sent.arguments)

    def _send(self, id_: str, method: str, arguments: dict[str, Any]) -> None:
        stage = self.ground.stage
        self.casts += 1
        _persist(lambda: self.ground.bus.send(stage.served, stage.host, method, id_, arguments))

    def _call(self, method: str, **arguments: Any) -> None:  # noqa: ANN401
        host = self.ground.stage.host
        self.calls += 1
        _persist(lambda: self.ground.bus.client.call(host, method, **arguments))

    def _wait_for(self, id_: str, *, ended: bool) -> None:
        def there() -> bool:
            found = self.ground.operation(id_)
            return found is not None and (not ended or found["ended_at"] is not None)

        if not soon(there, PATIENCE):
            message = f"operation {id_} is not {'ended' if ended else 'accepted'} in {PATIENCE} s"
            raise AssertionError(message)

    @property
    def _guest(self) -> str:
        return self.ground.guests[self.number].uuid

    def _volume(self, deed: Deed) -> str:
        return self.ground.volumes[self.number][deed.volume]

    def _row(self, deed: Deed) -> str:
        return self.rows[deed.volume, deed.row]


def _persist(call: Callable[[], T]) -> T:
    """Ask again while the worker, or what it needs, is away: what is asked twice is done once."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return call()
        except WorkerError as error:
            passing = isinstance(error, Unavailable) or type(error) is WorkerError
            if not passing or time.monotonic() > deadline:
                raise
        time.sleep(0.1)
