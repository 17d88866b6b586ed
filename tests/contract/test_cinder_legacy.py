"""A Cinder without attachments: its older actions, and the claims that say who has what."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.contract.cinder_labs import CONNECTOR, by_keystone, service_of
from tests.contract.cinder_server import Cinder, Trouble, served
from tests.contract.cinder_state import CHAP
from worker.errors import (
    AttachmentNotFound,
    RequestMalformed,
    VolumeInUse,
    VolumeNotFound,
    VolumeServiceForbids,
)
from worker.model.ids import AttachmentId, InstanceId, VolumeId
from worker.model.volume import AttachmentStatus, VolumeStatus
from worker.ports import Attachments, Volumes
from worker.wiring.waiting import Waiting

ONE = VolumeId("11111111-1111-4111-8111-111111111111")
TWO = VolumeId("22222222-2222-4222-8222-222222222222")
GUEST = InstanceId("33333333-3333-4333-8333-333333333333")
OTHER_GUEST = InstanceId("44444444-4444-4444-8444-444444444444")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """A Cinder, and a worker that has just started."""

    cinder: Cinder
    attachments: Attachments
    volumes: Volumes

    @classmethod
    def on(cls, cinder: Cinder, **more: object) -> "Lab":
        made = service_of(by_keystone(cinder, attachments="legacy", **more))
        return cls(cinder=cinder, attachments=made.attachments, volumes=made.volumes)

    def attach(self, guest: InstanceId = GUEST, volume: VolumeId = ONE) -> AttachmentId:
        held = self.attachments.create(volume, guest)
        self.attachments.connect(held.id, CONNECTOR)
        self.attachments.complete(held.id)
        return held.id

    @property
    def volume(self) -> dict[str, Any]:
        return self.cinder.state.volumes[ONE]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with served() as cinder:
        cinder.newest = "3.20"
        cinder.state.add(ONE)
        yield Lab.on(cinder)


def test_a_volume_is_reserved_attached_and_let_go(lab: Lab) -> None:
    held = lab.attachments.create(ONE, GUEST)
    assert (held.status, lab.volume["status"]) == (AttachmentStatus.RESERVED, "attaching")

    connection = lab.attachments.connect(held.id, CONNECTOR)
    assert (connection.protocol, connection.properties["auth_password"]) == ("iscsi", CHAP)
    assert connection.properties["mount_point_base"] == "/mnt"
    assert {"data", "driver_volume_type"}.isdisjoint(connection.properties)
    seen = lab.attachments.get(held.id)
    assert (seen.status, seen.connection) == (AttachmentStatus.ATTACHING, connection)

    lab.attachments.complete(held.id)
    assert lab.attachments.get(held.id).status is AttachmentStatus.ATTACHED
    assert lab.volume["attachments"][0]["server_id"] == GUEST

    lab.volumes.begin_detaching(ONE)
    lab.attachments.delete(held.id)
    assert (lab.volume["status"], lab.volume["metadata"]) == ("available", {})
    assert lab.cinder.state.exports == []
    assert lab.attachments.find(ONE, GUEST) is None


def test_each_call_again_changes_nothing(lab: Lab) -> None:
    held = lab.attachments.create(ONE, GUEST)
    assert lab.attachments.create(ONE, GUEST) == held
    first = lab.attachments.connect(held.id, CONNECTOR)
    assert lab.attachments.connect(held.id, CONNECTOR) == first
    for _ in range(2):
        lab.attachments.complete(held.id)
    assert len(lab.volume["attachments"]) == 1
    assert lab.cinder.asked("/action$") == 3
    for _ in range(2):
        lab.attachments.delete(held.id)


def test_what_is_only_reserved_is_given_back(lab: Lab) -> None:
    held = lab.attachments.create(ONE, GUEST)
    lab.attachments.delete(held.id)
    assert (lab.volume["status"], lab.volume["metadata"]) == ("available", {})


def test_a_worker_that_was_started_anew_knows_what_it_had(lab: Lab) -> None:
    for volume in (TWO, VolumeId(TWO.replace("2", "5"))):
        lab.cinder.state.add(volume)
    lab.cinder.state.page = 1
    reserved, attached = lab.attachments.create(TWO, GUEST), lab.attach()

    after = Lab.on(lab.cinder)

    assert after.attachments.get(reserved.id).status is AttachmentStatus.RESERVED
    assert after.attachments.get(attached).status is AttachmentStatus.ATTACHED
    assert {one.id for one in after.attachments.of_instance(GUEST)} == {reserved.id, attached}
    assert after.attachments.of_instance(OTHER_GUEST) == ()
    # It has forgotten how to reach the volume, and asks again.
    assert after.attachments.connect(reserved.id, CONNECTOR).protocol == "iscsi"
    for held in (reserved.id, attached):
        Lab.on(lab.cinder).attachments.delete(held)
    assert {one["status"] for one in lab.cinder.state.volumes.values()} == {"available"}


def test_a_volume_of_another_is_in_use_and_keeps_no_claim_of_who_asked(lab: Lab) -> None:
    held = lab.attachments.create(ONE, GUEST)
    with pytest.raises(VolumeInUse):
        lab.attachments.create(ONE, OTHER_GUEST)
    assert lab.attachments.find(ONE, OTHER_GUEST) is None
    assert list(lab.volume["metadata"]) == [f"blockworker_{GUEST}"]
    assert lab.attachments.get(held.id) == held


def test_a_claim_of_one_who_died_is_no_reservation(lab: Lab) -> None:
    lab.volume["metadata"][f"blockworker_{OTHER_GUEST}"] = "reserved"
    assert lab.attachments.find(ONE, OTHER_GUEST) is None
    held = lab.attachments.create(ONE, GUEST)
    assert lab.attachments.get(held.id) == held
    assert list(lab.volume["metadata"]) == [f"blockworker_{GUEST}"]


def test_of_two_that_claim_one_reservation_the_one_that_gives_up_leaves_it_to_the_other(
    lab: Lab,
) -> None:
    """Both workers died before Cinder's answer could tell them whose it was."""
    lab.attachments.create(ONE, GUEST)
    lab.volume["metadata"][f"blockworker_{OTHER_GUEST}"] = "reserved"
    for guest in (GUEST, OTHER_GUEST):
        assert lab.attachments.find(ONE, guest) is None
    with pytest.raises(VolumeInUse):
        lab.attachments.create(ONE, GUEST)
    assert lab.attachments.create(ONE, OTHER_GUEST).instance == OTHER_GUEST
    assert lab.attachments.find(ONE, GUEST) is None


def test_what_somebody_else_attached_since_is_not_pulled_away(lab: Lab) -> None:
    """A claim outlived the detach: the worker died between the two."""
    held = lab.attach()
    lab.attachments.delete(held)
    other = Lab.on(lab.cinder).attach(OTHER_GUEST)
    lab.volume["metadata"][f"blockworker_{GUEST}"] = "exported"
    lab.attachments.delete(held)
    assert lab.cinder.state.exports == [ONE]
    assert lab.attachments.get(other).status is AttachmentStatus.ATTACHED


def test_two_guests_share_a_volume_that_takes_them(lab: Lab) -> None:
    lab.volume["multiattach"] = True
    first, second = lab.attach(GUEST), lab.attach(OTHER_GUEST)
    assert lab.attachments.connect(first, CONNECTOR).properties["multiattach"] is True
    lab.attachments.delete(first)
    assert lab.volumes.show(ONE).status is VolumeStatus.IN_USE
    assert lab.attachments.find(ONE, OTHER_GUEST) is not None
    lab.attachments.delete(second)
    assert lab.volumes.show(ONE).status is VolumeStatus.AVAILABLE


def test_what_does_not_exist_is_not_found(lab: Lab) -> None:
    unknown = AttachmentId("55555555-5555-4555-8555-555555555555")
    calls: list[Callable[[], object]] = [
        lambda: lab.attachments.get(unknown),
        lambda: lab.attachments.connect(unknown, CONNECTOR),
        lambda: lab.attachments.complete(unknown),
    ]
    for call in calls:
        with pytest.raises(AttachmentNotFound):
            call()
    with pytest.raises(VolumeNotFound):
        lab.attachments.create(TWO, GUEST)
    assert lab.attachments.find(TWO, GUEST) is None
    lab.attachments.delete(unknown)


def test_a_volume_that_went_with_its_claims_is_not_found(lab: Lab) -> None:
    held = lab.attachments.create(ONE, GUEST)
    del lab.cinder.state.volumes[ONE]
    with pytest.raises(AttachmentNotFound):
        lab.attachments.get(held.id)
    lab.attachments.delete(held.id)


def test_a_connector_that_cinder_cannot_use_is_refused(lab: Lab) -> None:
    held = lab.attachments.create(ONE, GUEST)
    with pytest.raises(RequestMalformed):
        lab.attachments.connect(held.id, {"ip": "192.0.2.1"})


def test_without_a_service_token_nothing_in_use_is_let_go(lab: Lab) -> None:
    tokenless = Lab.on(lab.cinder, service_token=False)
    held = tokenless.attach()
    with pytest.raises(VolumeServiceForbids, match="role 'service'"):
        tokenless.attachments.delete(held)
    assert lab.volume["status"] == "in-use"


ACTIONS = ["volumes/[^/]*$", "metadata", "action"]


@pytest.mark.parametrize("on", ACTIONS)
@pytest.mark.parametrize("done", [True, False], ids=["done", "undone"])
@pytest.mark.parametrize("skipped", range(6))
def test_any_request_may_be_lost(lab: Lab, on: str, skipped: int, *, done: bool) -> None:
    lost = Trouble(on=on, cut=True, done=done)
    lab.cinder.troubles = [Trouble(on=on, done=True) for _ in range(skipped)] + [lost]
    waited, held = Waiting(lambda: 60.0, rest=lambda _seconds: None).call, lab.attachments
    made = waited("attachments.create", lambda: held.create(ONE, GUEST))
    waited("attachments.connect", lambda: held.connect(made.id, CONNECTOR))
    waited("attachments.complete", lambda: held.complete(made.id))
    assert lab.volume["status"] == "in-use"
    waited("attachments.delete", lambda: held.delete(made.id))
    assert (lab.volume["status"], lab.cinder.state.exports) == ("available", [])
    assert len(lab.volume["attachments"]) == 0
