"""A whole worker in this process, and an API tier that talks to it over the bus."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker import conf as options
from worker import wiring
from worker.model.ids import new_uuid
from worker.rpc.client import Client
from worker.rpc.hearing import Hearing
from worker.steps import Watch, Watcher
from worker.wiring.core import Core

MIB = 1 << 20
SOON = 60.0

Json = dict[str, Any]


@dataclass(kw_only=True)
class Rig:
    """One worker's host as an API tier sees it; keeps every update in the order heard."""

    host: str
    client: Client
    updates: list[Json] = field(default_factory=list)
    heard: threading.Condition = field(default_factory=threading.Condition)

    def call(self, method: str, **arguments: Any) -> Any:  # noqa: ANN401
        return self.client.call(self.host, method, **arguments)

    def cast(self, method: str, **arguments: Any) -> str:  # noqa: ANN401
        return self.client.cast(self.host, method, **arguments)

    def run(self, method: str, **arguments: Any) -> Json:  # noqa: ANN401
        """Cast an operation and return it at its end."""
        return self.end_of(self.cast(method, **arguments))

    def end_of(self, operation: str) -> Json:
        return self.client.wait_for(self.host, operation, seconds=SOON, every=0.02)

    def volume(self, size: int = 32 * MIB, **wanted: Any) -> str:  # noqa: ANN401
        volume = new_uuid()
        made = self.run("create_volume", volume_id=volume, size=size, **wanted)
        assert made["fault"] is None, made
        return volume

    def reserve(self, instance: str, volume: str, **arguments: Any) -> Json:  # noqa: ANN401
        found: Json = self.call(
            "reserve_block_device_name", instance_uuid=instance, volume_id=volume, **arguments
        )
        return found

    def attach(self, instance: str, volume: str, **arguments: Any) -> Json:  # noqa: ANN401
        """Reserve and attach; return the row as reserved."""
        row = self.reserve(instance, volume, **arguments)
        ended = self.run("attach_volume", instance_uuid=instance, bdm_uuid=row["uuid"])
        assert ended["state"] == "succeeded", ended
        return row

    def detach(self, row: Json) -> Json:
        return self.run(
            "detach_volume",
            instance_uuid=row["instance_uuid"],
            volume_id=row["volume_id"],
            bdm_uuid=row["uuid"],
        )

    def events(self, operation: str | None = None) -> list[str]:
        with self.heard:
            return [
                update["event_type"]
                for update in self.updates
                if operation in (None, update["payload"]["operation_id"])
            ]

    def wait_for(self, wanted: Callable[[Json], bool]) -> Json:
        """Return the first update that is wanted, heard already or soon."""
        with self.heard:
            assert self.heard.wait_for(lambda: any(map(wanted, self.updates)), SOON), self.updates
            return next(filter(wanted, self.updates))

    def wait_for_event(self, event: str, operation: str | None = None) -> Json:
        return self.wait_for(
            lambda update: (
                update["event_type"] == event
                and operation in (None, update["payload"]["operation_id"])
            )
        )

    def listen(self, hearing: Hearing, stopping: threading.Event) -> None:
        while not stopping.is_set():
            update = hearing.wait(0.2)
            if update is not None:
                with self.heard:
                    self.updates.append(update)
                    self.heard.notify_all()


@contextmanager
def running(
    state: Path,
    uri: str,
    *,
    bus: str,
    host: str,
    watches: tuple[Watch, ...] = (),
    core: type[Core] = Core,
    **options_: Any,  # noqa: ANN401
) -> Iterator[Rig]:
    """Run a worker on that libvirt, and hear what it tells."""
    conf = options.load(
        state_path=str(state),
        host=host,
        transport_url=bus,
        graceful_timeout=20.0,
        hypervisor__uri=uri,
        **options_,
    )
    settings = wiring.bus_settings(conf)
    worker = wiring.Worker(conf, [_over_all(watch) for watch in watches], core)
    stopping = threading.Event()
    with Client(settings.url, quorum=settings.quorum) as client, client.updates() as hearing:
        rig = Rig(host=host, client=client)
        listener = threading.Thread(target=rig.listen, args=(hearing, stopping))
        listener.start()
        try:
            worker.start()
            yield rig
        finally:
            worker.stop()
            stopping.set()
            listener.join()


def _over_all(watch: Watch) -> Watcher:
    return lambda _operation: watch
