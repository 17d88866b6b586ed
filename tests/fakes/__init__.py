"""Fakes: each subclasses a port; all of them share one World that can be compared."""

from collections.abc import Sequence
from datetime import datetime

from tests.fakes.block_copies import FakeBlockCopies
from tests.fakes.database import (
    FakeBlockDevices,
    FakeCancelling,
    FakeConnections,
    FakeInstances,
    FakeOperationRecord,
    FakeOperations,
    FakePeripherals,
    FakeProgress,
    FakeStuckOperations,
    FakeUpdates,
)
from tests.fakes.hypervisor import FakeGuestDisks, FakeGuestInsides, FakeGuests, FakeGuestSecrets
from tests.fakes.images import FakeConfigDrives, FakeImages, FakeLocalDisks
from tests.fakes.leftovers import FakeLeftovers
from tests.fakes.machines import FakeMachines, FakePower
from tests.fakes.moving import (
    FakeAutostart,
    FakeDefinitions,
    FakeHostFiles,
    FakeMoves,
    FakeOwnOperations,
)
from tests.fakes.peripherals import FakeGuestPeripherals
from tests.fakes.rescues import FakeRescues
from tests.fakes.volume_service import (
    FakeAttachments,
    FakeConnector,
    FakeKeys,
    FakePoolVolumes,
    FakeVolumes,
)
from tests.fakes.world import World
from worker.errors import SecretLost
from worker.execution import Page
from worker.model.identity.lookup import DeviceKind
from worker.model.ids import OperationId
from worker.model.operation import Operation
from worker.model.secret import Secret
from worker.ports import Clock, Ports, Seals, Tally
from worker.steps import Recorder, Watch, wrap_outside


class FakeClock(Clock):
    def __init__(self, world: World) -> None:
        self.world = world

    def now(self) -> datetime:
        return self.world.tick()


class FakeSeals(Seals):
    """Hides a text from a reader who does not turn it around."""

    def seal(self, operation: OperationId, name: str, secret: Secret) -> str:
        return f"{operation}/{name}/{secret.reveal()[::-1]}"

    def open(self, operation: OperationId, name: str, sealed: str) -> Secret:
        owner, _, hidden = sealed.rpartition("/")
        if owner != f"{operation}/{name}":
            raise SecretLost(name)
        return Secret(hidden[::-1])


class FakeTally(Tally):
    def __init__(self, world: World) -> None:
        self.world = world

    def found_by_facts(self, kind: DeviceKind) -> None:
        self.world.found_by_facts.append(kind)


def ports(world: World, operation: Operation | None = None) -> Ports:
    """Return ports on the world, for a call or an operation, unrecorded."""
    return Ports(
        host="host-1",
        max_disk_devices=-1,
        rescue=world.settings,
        guests=FakeGuests(world),
        disks=FakeGuestDisks(world),
        block_copies=FakeBlockCopies(world),
        guest_peripherals=FakeGuestPeripherals(world),
        guest_secrets=FakeGuestSecrets(world),
        insides=FakeGuestInsides(world),
        machines=FakeMachines(world),
        power=FakePower(world),
        rescues=FakeRescues(world),
        definitions=FakeDefinitions(world),
        autostart=FakeAutostart(world),
        host_files=FakeHostFiles(world),
        images=FakeImages(world),
        local_disks=FakeLocalDisks(world),
        config_drives=FakeConfigDrives(world),
        volumes=FakeVolumes(world),
        attachments=FakeAttachments(world),
        keys=FakeKeys(world),
        pool=FakePoolVolumes(world),
        connector=FakeConnector(world),
        leftovers=FakeLeftovers(world),
        sharing=world.sharing,
        devices=FakeBlockDevices(world),
        peripherals=FakePeripherals(world),
        connections=FakeConnections(world),
        instances=FakeInstances(world),
        moves=FakeMoves(world),
        own_operations=FakeOwnOperations(world),
        updates=FakeUpdates(world),
        operations=FakeOperations(world),
        stuck=FakeStuckOperations(world),
        cancelling=FakeCancelling(world),
        progress=FakeProgress(world, operation),
        seals=FakeSeals(),
        clock=FakeClock(world),
        tally=FakeTally(world),
    )


def page(world: World, operation: Operation, watches: Sequence[Watch] = ()) -> Page:
    """Return the page of an operation: the same ports, the outside ones recorded."""
    record = FakeOperationRecord(world, operation.id)
    recorder = Recorder(record, watches)
    return Page(record=record, ports=wrap_outside(ports(world, operation), recorder.step))
