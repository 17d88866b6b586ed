"""One process of the race test: threads that reserve the same places at the same moment.

Run as ``python -m tests.contract.persistence.racers URL INSTANCE VOLUME START``; prints, as
JSON, how each try ended.
"""

import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.contract.persistence.scenes import HOST, SteppedClock, an_interface, reserved
from worker.errors import WorkerError
from worker.model.block_device import BlockDevice, Bus
from worker.model.ids import BlockDeviceId, InstanceId, VolumeId, new_uuid
from worker.model.peripheral import Peripheral
from worker.model.places.address import DriveAddress, PciAddress
from worker.persistence.database import Database
from worker.persistence.engine import make_engine
from worker.persistence.repositories import Repositories

THREADS = 8
WON = "won"


def contenders(instance: str, shared: str) -> dict[str, BlockDevice]:
    """Return, by the key that they share with every other process's, one device each."""
    return {
        "id": _device(instance, uuid=shared),
        "volume": _device(instance, volume=shared),
        "name": _device(instance, device_name="/dev/vdx"),
        "address": _device(instance, address=PciAddress(bus=9, slot=9)),
        "unit": _device(instance, bus=Bus.SCSI, unit=7),
    }


def _device(instance: str, **fields: object) -> BlockDevice:
    drawn = new_uuid()
    number = int(drawn[:4], 16)
    given = {
        "uuid": BlockDeviceId(drawn),
        "instance": InstanceId(instance),
        "volume": VolumeId(drawn),
        "device_name": f"/dev/{drawn}",
        "bus": Bus.VIRTIO,
        "alias": f"ua-{drawn}",
        "serial": drawn,
        "address": DriveAddress(kind="scsi", controller=number, unit=int(drawn[4:8], 16)),
    }
    return BlockDevice(**(given | fields))  # type: ignore[arg-type]


def race(url: str, instance: str, shared: str, start: float) -> list[tuple[str, str]]:
    """Let every thread try to reserve everything, all from the same moment."""
    database = Database(make_engine(url), patience=60)
    repositories = Repositories(database, HOST, SteppedClock())

    def run(number: int) -> list[tuple[str, str]]:
        devices = list(contenders(instance, shared).items())
        time.sleep(max(0.0, start - time.time()))
        turned = devices[number % 5 :] + devices[: number % 5]
        return [(key, _try(repositories, device)) for key, device in turned]

    with ThreadPoolExecutor(THREADS) as pool:
        tries = [one for found in pool.map(run, range(THREADS)) for one in found]
    database.close()
    return tries


def race_for_one_place(url: str, instance: str, start: float) -> list[str]:
    """Let half of the threads reserve a disk and half an interface at one address."""
    database = Database(make_engine(url), patience=60)
    repositories = Repositories(database, HOST, SteppedClock())
    place = PciAddress(bus=8, slot=8)

    def run(number: int) -> str:
        mine: BlockDevice | Peripheral = _device(instance, address=place)
        if number % 2:
            mine = an_interface(instance=InstanceId(instance), address=place)
        time.sleep(max(0.0, start - time.time()))
        return _try(repositories, mine)

    with ThreadPoolExecutor(THREADS) as pool:
        ends = list(pool.map(run, range(THREADS)))
    database.close()
    return ends


def _try(repositories: Repositories, mine: BlockDevice | Peripheral) -> str:
    call = repositories.for_call()
    try:
        if isinstance(mine, BlockDevice):
            call.devices.insert(mine, reserved(mine))
        else:
            call.peripherals.insert(mine)
    except WorkerError as error:
        return error.code
    return WON


def main(arguments: Sequence[str]) -> None:
    url, instance, shared, start = arguments
    print(json.dumps(race(url, instance, shared, float(start))))  # noqa: T201 - its answer


if __name__ == "__main__":
    main(sys.argv[1:])
