"""Races are decided by constraints: no two reservations share a name, an address or a volume."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.guests import GuestMaker
from tests.rig import Rig
from worker.errors import WorkerError

MANY = 8


def test_reservations_at_one_moment_share_no_place(rig: Rig, make_guest: GuestMaker) -> None:
    guest = make_guest(booted=False, ports=MANY + 2)
    rig.call("adopt_instance", domain=guest.uuid)
    volumes = [rig.volume() for _ in range(MANY)]
    with ThreadPoolExecutor(MANY) as pool:
        rows = list(pool.map(lambda volume: rig.reserve(guest.uuid, volume), volumes))
    for key in ("device_name", "address", "alias", "serial", "uuid"):
        assert len({row[key] for row in rows}) == MANY, key


def test_one_volume_is_reserved_once(rig: Rig, make_guest: GuestMaker) -> None:
    guest, volume = make_guest(booted=False), rig.volume()
    rig.call("adopt_instance", domain=guest.uuid)

    def reserve(_number: int) -> dict[str, Any] | str:
        try:
            return rig.reserve(guest.uuid, volume)
        except WorkerError as error:
            return error.code

    with ThreadPoolExecutor(MANY) as pool:
        answers = list(pool.map(reserve, range(MANY)))
    assert sorted(map(str, answers))[:-1] == ["volume.already_attached"] * (MANY - 1)
    assert len(rig.call("list_block_devices", instance_uuid=guest.uuid)) == 1
