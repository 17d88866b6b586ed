"""The attach flow with something amiss at one of its calls, and what is left of it then."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from tests.api_rig import ApiRig, Response
from worker.api.application import Application
from worker.api.routes import ROUTES
from worker.api.services import Services
from worker.model.block_device import DeviceStatus
from worker.model.ids import InstanceId, VolumeId
from worker.model.volume import AttachmentStatus, VolumeStatus
from worker.wiring.api import make_front

PORTS = ("workers", "fleet", "attachments", "volumes")


class Killed(BaseException):
    """The API was killed: nothing of it runs after this."""


@dataclass
class Mishap:
    """Goes wrong at a call of what the API uses, by its number, before or after the effect.

    A ``lasting`` one goes wrong at every later call of the same port too.
    """

    at: int | None = None
    late: bool = False
    error: Callable[[], BaseException] = Killed
    lasting: bool = False
    names: list[str] = field(default_factory=list)
    port: str | None = None

    def call(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def made(*args: object, **kwargs: object) -> object:
            here = self._here(name, args)
            if here and not self.late:
                raise self.error()
            result = call(*args, **kwargs)
            if here:
                raise self.error()
            return result

        return made

    def _here(self, name: str, args: tuple[object, ...]) -> bool:
        number = len(self.names)
        port = name.partition(".")[0]
        self.names.append(f"{name} {args[1]}" if name == "workers.call" else name)
        if number == self.at:
            self.port = port
            return True
        return self.lasting and port == self.port


class Wrapped:
    """A part of the API's services whose calls a mishap sees."""

    def __init__(self, name: str, part: object, mishap: Mishap) -> None:
        self._name, self._part, self._mishap = name, part, mishap

    def __getattr__(self, method: str) -> object:
        return self._mishap.call(f"{self._name}.{method}", getattr(self._part, method))


def spoilt(api: ApiRig, mishap: Mishap) -> ApiRig:
    """Return the same rig behind an API that the mishap befalls."""
    parts: dict[str, Any] = {
        name: Wrapped(name, getattr(api.services, name), mishap) for name in PORTS
    }
    release = mishap.call("fleet.release", api.services.release)
    return on(api, replace(api.services, **parts, release=release))


def on(api: ApiRig, services: Services) -> ApiRig:
    """Return the same rig behind an API with those services."""
    front = make_front(api.conf)
    return replace(api, services=services, application=Application(ROUTES, services, front))


def later(api: ApiRig, seconds: float = 120.0) -> ApiRig:
    """Return the same rig, asked so many seconds later."""
    clock = api.services.clock
    return on(api, replace(api.services, clock=lambda: clock() + timedelta(seconds=seconds)))


class Late:
    """The client of workers whose calls of one method get no answer, and come when told to."""

    def __init__(self, workers: object, method: str, error: Callable[[], Exception]) -> None:
        self._workers, self._method, self._error = workers, method, error
        self.held: list[Callable[[], Any]] = []

    def __getattr__(self, method: str) -> object:
        call = getattr(self._workers, method)

        def made(*args: Any, **kwargs: Any) -> object:  # noqa: ANN401
            if self._method in (method, *args[1:2]):
                self.held.append(lambda: call(*args, **kwargs))
                raise self._error()
            return call(*args, **kwargs)

        return made


def path(server: str, volume: str = "") -> str:
    return f"/v2.1/servers/{server}/os-volume_attachments" + (f"/{volume}" if volume else "")


def attach(api: ApiRig, server: str, volume: str, **fields: object) -> Response:
    """Ask for an attach, at whatever microversion ``version`` says."""
    version = str(fields.pop("version", "2.101"))
    body = {"volumeAttachment": {"volumeId": volume, **fields}}
    return api.ask("POST", path(server), body, version=version)


def settle(api: ApiRig, server: InstanceId) -> None:
    """Wait until no operation of the server is under way."""
    until = time.monotonic() + 60
    while any(not each.operation.state.ended for each in api.services.fleet.operations(server)):
        assert time.monotonic() < until, api.services.fleet.operations(server)
        time.sleep(0.005)


@dataclass(frozen=True)
class Found:
    """What there is of a volume and a server."""

    rows: tuple[DeviceStatus, ...]
    attachments: tuple[AttachmentStatus, ...]
    volume: VolumeStatus
    in_guest: bool


NOTHING = Found((), (), VolumeStatus.AVAILABLE, in_guest=False)
ATTACHED = Found(
    (DeviceStatus.ATTACHED,), (AttachmentStatus.ATTACHED,), VolumeStatus.IN_USE, in_guest=True
)


def found(api: ApiRig, server: InstanceId, volume: VolumeId) -> Found:
    """Return it, once all operations have ended."""
    settle(api, server)
    held = list(api.world.attachments.values())
    shown = {disk.source.name for disk in api.world.guests[server].live.values()}
    return Found(
        tuple(row.status for row in api.services.fleet.devices(server) if row.volume == volume),
        tuple(each.status for each in held if each.volume == volume),
        api.world.volumes[volume].status,
        in_guest=f"/dev/{volume}" in shown,
    )


class Together:
    """Has threads begin at the same moment, and keeps what each came to."""

    def __init__(self, count: int) -> None:
        self._gate = threading.Barrier(count)
        self.answers: list[Response] = []

    def run(self, asks: list[Callable[[], Response]]) -> list[Response]:
        threads = [threading.Thread(target=self._one, args=(ask,)) for ask in asks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self.answers

    def _one(self, ask: Callable[[], Response]) -> None:
        self._gate.wait()
        self.answers.append(ask())
