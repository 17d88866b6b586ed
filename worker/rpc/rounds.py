"""What the relay sends at a time, and what becomes of an update that the broker does not take."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from kombu.exceptions import KombuError

from worker.model.ids import InstanceId
from worker.model.update import OutboxEntry
from worker.ports import Outbox
from worker.rpc.bus import BusSettings
from worker.rpc.link import Outage

BATCH = 100
NOTED = 16

Publish = Callable[[Sequence[OutboxEntry]], Collection[OutboxEntry]]
"""Returns those that the bus refused; it has all others.

They may have been sent when it raises.
"""


class Refused(KombuError):
    """The broker did not take an update, or had no queue for it, not even the default one."""


@dataclass(slots=True, kw_only=True)
class _Held:
    """The updates of one instance, until when they are not sent."""

    outage: Outage
    until: float


class Rounds:
    """Sends what waits in the outbox, each instance's in order.

    After one that the broker refused all later ones of its instance wait, and no others.
    """

    def __init__(self, outbox: Outbox, settings: BusSettings) -> None:
        """Nothing was sent yet."""
        self._outbox = outbox
        self._settings = settings
        self._confirmed: list[int] = []
        self._held: dict[InstanceId | None, _Held] = {}

    @property
    def unnoted(self) -> bool:
        """Whether there are updates that the broker has, and the outbox does not know of it."""
        return bool(self._confirmed)

    @property
    def held(self) -> bool:
        """Whether there are updates that the broker has refused."""
        return bool(self._held)

    def send(self, publish: Publish) -> int:
        """Send what waits, up to so many; return how many there were."""
        entries = self._outbox.waiting(BATCH, but=self._confirmed, without=self._not_yet())
        refused: set[InstanceId | None] = set()
        for wave in waves(entries):
            sent = [entry for entry in wave if entry.instance not in refused]
            refused |= self._send(sent, publish)
        if len(self._confirmed) >= NOTED or not entries:
            self._outbox.published(self._confirmed)
            self._confirmed.clear()
        return len(entries)

    def _send(self, wave: Sequence[OutboxEntry], publish: Publish) -> set[InstanceId | None]:
        """Return the instances whose updates were refused."""
        refused = {entry.id for entry in publish(wave)}
        for entry in wave:
            if entry.id in refused:
                self._hold(entry)
            else:
                self._confirmed.append(entry.id)
                self._let_go(entry.instance)
        return {entry.instance for entry in wave if entry.id in refused}

    def _not_yet(self) -> list[InstanceId | None]:
        now = time.monotonic()
        return [instance for instance, held in self._held.items() if held.until > now]

    def _hold(self, entry: OutboxEntry) -> None:
        held = self._held.get(entry.instance)
        outage = Outage(f"updates: instance {entry.instance}", self._settings)
        outage = outage if held is None else held.outage
        pause = outage.goes_on(Refused(f"the broker refused update {entry.message_id}"))
        self._held[entry.instance] = _Held(outage=outage, until=time.monotonic() + pause)

    def _let_go(self, instance: InstanceId | None) -> None:
        held = self._held.pop(instance, None)
        if held is not None:
            held.outage.over()


def waves(entries: Sequence[OutboxEntry]) -> list[list[OutboxEntry]]:
    """Part the entries so that each part has one of an instance at most, in their order.

    A part is confirmed as a whole, and before the next is sent: what the broker refuses of one
    instance is never overtaken by a later update of it.
    """
    parts: list[list[OutboxEntry]] = []
    seen: Counter[InstanceId | None] = Counter()
    for entry in entries:
        nth = seen[entry.instance]
        seen[entry.instance] += 1
        if nth == len(parts):
            parts.append([])
        parts[nth].append(entry)
    return parts
