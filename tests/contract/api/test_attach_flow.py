"""Whoever dies, is silent or fails at whatever point of an attach: it is done, or nothing is left.

The flow's calls are made once without trouble, to count them; then each goes wrong in turn, before
its effect and after it.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update

from tests.api_rig import ApiRig, Response, api_rig
from tests.bench.instant import OneAtATime
from tests.contract.api.attach_scenes import (
    ATTACHED,
    NOTHING,
    Killed,
    Late,
    Mishap,
    Together,
    attach,
    found,
    later,
    on,
    path,
    settle,
    spoilt,
)
from worker.errors import (
    BrokerUnavailable,
    DatabaseUnavailable,
    NoAnswer,
    VolumeInUse,
    VolumeServiceUnavailable,
    WorkerUnreachable,
)
from worker.model.block_device import BlockDevice, DeviceStatus
from worker.model.ids import AttachmentId, InstanceId, VolumeId, new_uuid
from worker.model.volume import Attachment, AttachmentStatus, VolumeStatus
from worker.persistence.schema import BLOCK_DEVICES, INSTANCES

FLOW = [
    "fleet.server",
    "volumes.show",
    "fleet.device",
    "workers.reserve_block_device_name",
    "attachments.find",
    "attachments.create",
    "workers.call attach_volume",
]
PLACES = [(at, late) for at in range(len(FLOW)) for late in (False, True)]

ALONE = threading.RLock()

ERRORS: dict[str, tuple[str, Callable[[], BaseException]]] = {
    "no answer": ("workers", lambda: NoAnswer("nothing came")),
    "unreachable": ("workers", lambda: WorkerUnreachable("nobody listens")),
    "no broker": ("workers", lambda: BrokerUnavailable("no broker")),
    "no volume service": ("attachments", lambda: VolumeServiceUnavailable("no answer")),
    "refused by the volume service": ("attachments", lambda: VolumeInUse("it is in use")),
    "no database": ("fleet", lambda: DatabaseUnavailable("no database")),
    "unforeseen": ("", lambda: KeyError("a bug")),
}


@pytest.fixture(scope="module")
def forgetful(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiRig]:
    """A rig whose worker releases reservations that are older than a second."""
    state: Path = tmp_path_factory.mktemp("forgetful")
    with api_rig(state, reservation_ttl=1) as rig:
        yield rig


def test_the_flow_is_these_calls(api: ApiRig) -> None:
    mishap = Mishap()
    server, volume = api.server(), api.volume()
    assert attach(spoilt(api, mishap), server, volume).status == 202
    assert found(api, server, volume) == ATTACHED
    assert mishap.names == FLOW


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_at_any_call_leaves_nothing_or_the_volume_is_attached(
    api: ApiRig, name: str
) -> None:
    port, error = ERRORS[name]
    for at, late in PLACES:
        if not FLOW[at].startswith(port):
            continue
        server, volume = api.server(), api.volume()
        answer = attach(spoilt(api, Mishap(at=at, late=late, error=error)), server, volume)
        wanted = ATTACHED if answer.status == 202 else NOTHING
        assert found(api, server, volume) == wanted, (FLOW[at], late, answer)
        assert answer.status == (202 if _was_sent(at, late) else _status(error())), FLOW[at]
        assert_is_repeatable(api, server, volume, answer)


def _was_sent(at: int, late: bool) -> bool:  # noqa: FBT001
    return late and FLOW[at] == "workers.call attach_volume"


def _status(error: BaseException) -> int:
    return 500 if isinstance(error, KeyError) else 400 if isinstance(error, VolumeInUse) else 503


def assert_is_repeatable(
    api: ApiRig, server: InstanceId, volume: VolumeId, first: Response
) -> None:
    """Asked again at once it is attached, or was by the first."""
    again = attach(api, server, volume)
    assert again.status == (400 if first.status == 202 else 202), again
    assert found(api, server, volume) == ATTACHED


@pytest.mark.parametrize(("at", "late"), PLACES)
def test_an_api_that_is_killed_leaves_nothing_that_the_next_request_does_not_clear(
    api: ApiRig, *, at: int, late: bool
) -> None:
    server, volume = api.server(), api.volume()
    with pytest.raises(Killed):
        attach(spoilt(api, Mishap(at=at, late=late)), server, volume)
    after = found(api, server, volume)
    answer = attach(later(api), server, volume)
    assert answer.status == (400 if after == ATTACHED else 202)
    assert found(api, server, volume) == ATTACHED


def test_an_api_that_is_killed_leaves_nothing_that_the_worker_does_not_release(
    forgetful: ApiRig,
) -> None:
    killed = []
    for at, late in PLACES:
        server, volume = forgetful.server(), forgetful.volume()
        with pytest.raises(Killed):
            attach(spoilt(forgetful, Mishap(at=at, late=late)), server, volume)
        killed.append((server, volume))
    for server, volume in killed:
        assert cleared(forgetful, server, volume)


def cleared(api: ApiRig, server: InstanceId, volume: VolumeId) -> bool:
    """Wait until the volume is free or attached; return whether it came to that."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found(api, server, volume) in (NOTHING, ATTACHED):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("port", ["fleet", "attachments"])
def test_what_cannot_be_given_back_is_cleared_by_a_later_request(api: ApiRig, port: str) -> None:
    """The way back needs database and volume service, which may stay away."""
    away = {"fleet": DatabaseUnavailable, "attachments": VolumeServiceUnavailable}[port]
    for at, late in PLACES:
        if not FLOW[at].startswith(port):
            continue
        server, volume = api.server(), api.volume()
        mishap = Mishap(at=at, late=late, error=lambda: away("away"), lasting=True)
        answer = attach(spoilt(api, mishap), server, volume)
        assert answer.status == 503, FLOW[at]
        assert answer.headers["Retry-After"]
        assert attach(later(api), server, volume).status == 202
        assert found(api, server, volume) == ATTACHED


def test_the_api_killed_on_its_way_back_leaves_what_the_next_request_clears(api: ApiRig) -> None:
    def back(trouble: Mishap) -> tuple[InstanceId, VolumeId, list[str]]:
        server, volume = api.server(), api.volume()
        silent = Late(api.services.workers, "attach_volume", lambda: NoAnswer("silence"))
        rig = spoilt(on(api, replace(api.services, workers=silent)), trouble)  # type: ignore[arg-type]
        with suppress(Killed):
            attach(rig, server, volume)
        return server, volume, trouble.names

    *_, names = back(Mishap())
    assert names[len(FLOW) :] == [
        "fleet.operation",
        "fleet.row",
        "fleet.release",
        "fleet.devices",
        "attachments.delete",
    ]
    for at in range(len(FLOW), len(names)):
        for late in (False, True):
            server, volume, _ = back(Mishap(at=at, late=late))
            assert attach(later(api), server, volume).status == 202, names[at]
            assert found(api, server, volume) == ATTACHED


def test_the_api_killed_on_its_way_back_before_it_has_sent_leaves_what_the_worker_releases(
    forgetful: ApiRig,
) -> None:
    """The row goes last: it is what the worker knows the attachment by."""
    created = FLOW.index("attachments.create")

    def back(trouble: Mishap) -> tuple[InstanceId, VolumeId]:
        server, volume = forgetful.server(), forgetful.volume()
        lost = Mishap(at=created, late=True, error=lambda: VolumeServiceUnavailable("lost"))
        with suppress(Killed):
            attach(spoilt(spoilt(forgetful, lost), trouble), server, volume)
        return server, volume

    counted = Mishap()
    back(counted)
    way = counted.names[created + 1 :]
    assert way == [
        *("fleet.row", "attachments.find", "fleet.devices", "attachments.delete"),
        "fleet.release",
    ]
    killed = [
        back(Mishap(at=created + 1 + at, late=late))
        for at in range(len(way))
        for late in (False, True)
    ]
    for server, volume in killed:
        assert cleared(forgetful, server, volume)


class TestAnAnswerThatIsLate:
    def late(self, api: ApiRig, method: str) -> tuple[ApiRig, Late]:
        workers = Late(api.services.workers, method, lambda: NoAnswer("silence"))
        return on(api, replace(api.services, workers=workers)), workers  # type: ignore[arg-type]

    def test_a_row_that_appears_later_is_cleared_in_its_time(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume()
        rig, silent = self.late(api, "reserve_block_device_name")
        assert attach(rig, server, volume).status == 503
        assert found(api, server, volume) == NOTHING
        silent.held[0]()
        assert attach(api, server, volume).status == 400
        assert attach(later(api), server, volume).status == 202
        assert found(api, server, volume) == ATTACHED

    def test_an_attach_that_comes_later_leaves_nothing(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume()
        rig, silent = self.late(api, "attach_volume")
        assert attach(rig, server, volume).status == 503
        silent.held[0]()
        assert found(api, server, volume) == NOTHING

    def test_nor_does_it_harm_the_attach_that_was_asked_for_meanwhile(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume()
        rig, silent = self.late(api, "attach_volume")
        assert attach(rig, server, volume).status == 503
        assert attach(api, server, volume).status == 202
        silent.held[0]()
        assert found(api, server, volume) == ATTACHED

    def test_one_whose_api_died_after_it_took_the_row_deletes_its_attachment(
        self, api: ApiRig
    ) -> None:
        server, volume = api.server(), api.volume()
        workers = Late(api.services.workers, "attach_volume", lambda: NoAnswer("silence"))
        mishap = Mishap(at=len(FLOW) + 2, late=True)
        rig = spoilt(on(api, replace(api.services, workers=workers)), mishap)  # type: ignore[arg-type]
        with pytest.raises(Killed):
            attach(rig, server, volume)
        assert mishap.names[-1] == "fleet.release"
        assert found(api, server, volume).rows == ()
        workers.held[0]()
        assert found(api, server, volume) == NOTHING

    @pytest.mark.parametrize("begins_before", ["operation", "release"])
    def test_one_that_begins_while_it_is_given_back_goes_on(
        self, api: ApiRig, begins_before: str
    ) -> None:
        server, volume = api.server(), api.volume()
        rig, silent = self.late(api, "attach_volume")
        services = rig.services

        def begin() -> None:
            if silent.held:
                silent.held.pop()()
                settle(api, server)

        class Slow:
            def __getattr__(self, name: str) -> object:
                if name == begins_before:
                    begin()
                return getattr(services.fleet, name)

        def release(host: str, row: object) -> bool:
            if begins_before == "release":
                begin()
            return services.release(host, row)  # type: ignore[arg-type]

        slow = on(api, replace(services, fleet=Slow(), release=release))  # type: ignore[arg-type]
        assert attach(slow, server, volume).status == 202
        assert found(api, server, volume) == ATTACHED

    def test_whoever_reserves_anew_meanwhile_keeps_the_attachment_that_it_uses(
        self, api: ApiRig
    ) -> None:
        server, volume = api.server(), api.volume()
        rig, _ = self.late(api, "attach_volume")

        def release(host: str, row: BlockDevice) -> bool:
            released = api.services.release(host, row)
            made = api.client.reserve_block_device_name(
                api.host, instance_uuid=server, volume_id=volume
            )
            api.client.call(
                api.host,
                "attach_volume",
                operation_id=new_uuid(),
                instance_uuid=server,
                bdm_uuid=made["uuid"],
            )
            settle(api, server)
            return released

        slow = on(api, replace(rig.services, release=release))
        assert attach(slow, server, volume).status == 503
        assert found(api, server, volume) == ATTACHED


class TestAWorkerThatIsNotThere:
    def test_its_servers_take_no_volume_and_nothing_is_left(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume()
        gone = update(INSTANCES).where(INSTANCES.c.uuid == server).values(host="nowhere")
        api.database.write(lambda connection: connection.execute(gone))
        answer = attach(api, server, volume)
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert answer.headers["X-Blockworker-Code"] == "worker.unreachable"
        assert found(api, server, volume) == NOTHING

    def test_a_reservation_of_a_dead_api_on_it_is_given_back(self, api: ApiRig) -> None:
        """Its worker takes no part in that; only then it is missed."""
        server, volume = api.server(), api.volume()
        with pytest.raises(Killed):
            attach(spoilt(api, Mishap(at=len(FLOW) - 1)), server, volume)
        gone = update(INSTANCES).where(INSTANCES.c.uuid == server).values(host="nowhere")
        api.database.write(lambda connection: connection.execute(gone))
        assert attach(later(api), server, volume).status == 503
        assert found(api, server, volume) == NOTHING


class TestWhatIsThere:
    def test_a_young_reservation_is_somebodys(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume()
        with pytest.raises(Killed):
            attach(spoilt(api, Mishap(at=len(FLOW) - 1)), server, volume)
        answer = attach(api, server, volume)
        assert answer.status == 400
        assert "already attached" in answer.message
        assert found(api, server, volume).attachments == (AttachmentStatus.RESERVED,)

    def test_an_attachment_that_nobody_holds_a_row_for_is_not_used(self, api: ApiRig) -> None:
        """Whoever left it may be about to delete it."""
        server, volume = api.server(), api.volume()
        left = held(api, server, volume, AttachmentStatus.RESERVED)
        assert attach(api, server, volume).status == 202
        assert found(api, server, volume) == ATTACHED
        assert left not in api.world.attachments

    def test_one_that_was_connected_is_never_deleted(self, api: ApiRig) -> None:
        server, volume = api.server(), api.volume(multiattach=True)
        left = held(api, server, volume, AttachmentStatus.ATTACHED)
        refused = Late(api.services.workers, "attach_volume", lambda: NoAnswer("silence"))
        rig = on(api, replace(api.services, workers=refused))  # type: ignore[arg-type]
        assert attach(rig, server, volume).status == 503
        assert left in api.world.attachments
        assert found(api, server, volume).rows == ()

    def test_another_servers_attachment_is_left_alone(self, api: ApiRig) -> None:
        one, other, volume = api.server(), api.server(), api.volume()
        left = held(api, other, volume, AttachmentStatus.RESERVED)
        answer = attach(api, one, volume)
        assert answer.status == 400
        assert left in api.world.attachments
        settle(api, one)
        assert api.services.fleet.devices(one) == ()

    def test_what_the_worker_refuses_later_leaves_nothing(self, api: ApiRig) -> None:
        """An attach that waits for its turn until it expires, say; the API has said yes."""
        server, volume = api.server(), api.volume()
        earlier = later(api, -3600)
        assert attach(earlier, server, volume).status == 202
        assert found(api, server, volume) == NOTHING
        (told,) = api.services.fleet.operations(server)
        assert told.operation.fault is not None
        assert told.operation.fault.code == "operation.expired"


def held(
    api: ApiRig, server: InstanceId, volume: VolumeId, status: AttachmentStatus
) -> AttachmentId:
    made = Attachment(id=AttachmentId(new_uuid()), volume=volume, instance=server, status=status)
    becomes = VolumeStatus.RESERVED if status is AttachmentStatus.RESERVED else VolumeStatus.IN_USE
    api.world.attachments[made.id] = made
    api.world.volumes[volume] = replace(api.world.volumes[volume], status=becomes)
    return made.id


@pytest.mark.parametrize("servers", [1, 5])
def test_of_200_requests_for_one_volume_one_wins(api: ApiRig, servers: int) -> None:
    volume, asked = api.volume(), [api.server() for _ in range(servers)]
    # The fake is a dictionary; a volume service has its own lock.
    alone = OneAtATime(api.services.attachments, ALONE)
    rig = on(api, replace(api.services, attachments=alone))  # type: ignore[arg-type]
    many = [asked[number % servers] for number in range(200)]
    answers = Together(200).run([lambda one=one: attach(rig, one, volume) for one in many])  # type: ignore[misc]

    assert Counter(answer.status for answer in answers) == {202: 1} | {
        status: count
        for status, count in Counter(answer.status for answer in answers).items()
        if status in (400, 409)
    }, [answer for answer in answers if answer.status not in (202, 400, 409)]
    for server in asked:
        settle(api, server)
    rows = [row for server in asked for row in api.services.fleet.devices(server)]
    (row,) = [row for row in rows if row.volume == volume]
    (attachment,) = [one for one in api.world.attachments.values() if one.volume == volume]
    assert (row.status, row.attachment) == (DeviceStatus.ATTACHED, attachment.id)
    assert attachment.status is AttachmentStatus.ATTACHED


def test_what_a_detach_frees_can_be_attached_anew(api: ApiRig) -> None:
    server, volume = api.server(), api.volume()
    for _ in range(2):
        assert attach(api, server, volume).status == 202
        settle(api, server)
        assert api.ask("DELETE", path(server, volume)).status == 202
        assert found(api, server, volume) == NOTHING
    rows = BLOCK_DEVICES.c
    kept = api.database.read(
        lambda each: each.execute(BLOCK_DEVICES.select().where(rows.volume_id == volume)).all()
    )
    assert len(kept) == len({row.uuid for row in kept})
