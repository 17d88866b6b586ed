"""What the demo does, as an API tier would: over the bus, to a real guest, believing nothing."""

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from worker import wiring
from worker.cmd.demo.guest import GuestReport
from worker.cmd.demo.stage import HOST, Say, Stage
from worker.errors import WorkerError
from worker.model.block_device import Bus
from worker.model.guest import Layout
from worker.model.ids import VolumeId, new_uuid
from worker.rpc.client import Client
from worker.rpc.hearing import Hearing

MIB = 1 << 20
SIZES = {Bus.VIRTIO: 64 * MIB, Bus.SCSI: 96 * MIB}

VIRTIO_SERIAL = 20
"""How much of a serial virtio-blk shows to the guest."""

PATIENCE = 60.0

VIEWS = ("row", "live", "persistent", "attachment", "http")


@dataclass(slots=True, kw_only=True)
class Shown:
    """One device of the demo: what was decided, what the guest saw, and where it is at the end."""

    volume: VolumeId
    row: Mapping[str, Any]
    guest: GuestReport | None = None
    kept_name: bool | None = None
    views: dict[str, str | None] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """Return the facts that ``--json`` prints."""
        return {
            "name": self.row["device_name"],
            "bus": self.row["disk_bus"],
            "alias": self.row["alias"],
            "serial": self.row["serial"],
            "volume_id": self.volume,
            "guest": None if self.guest is None else asdict(self.guest),
            "kept_name": self.kept_name,
            "views": self.views,
        }


class Story:
    """The main job: two volumes come, one goes, the other stays what it was."""

    def __init__(self, stage: Stage, say: Say) -> None:
        """Play on the stage; tell a person how it goes."""
        self._stage = stage
        self._say = say
        self.updates: list[dict[str, Any]] = []
        self.devices: list[Shown] = []

    def play(self, file: Path | None) -> bool:
        """Play it all; return whether everything was as promised. ``file`` is the first volume."""
        with Client(self._stage.conf.transport_url) as client, client.updates() as hearing:
            self._wait_for_guest()
            client.call(HOST, "adopt_instance", domain=self._stage.guest)
            for bus in (Bus.VIRTIO, Bus.SCSI):
                volume = self._create(client, bus, file if bus is Bus.VIRTIO else None)
                self.devices.append(self._attach(client, hearing, volume, bus))
            self._detach(client, hearing, self.devices[0])
            self._look(client)
        return self._as_promised()

    def _wait_for_guest(self) -> None:
        self._stage.console.wait_for(lambda _disks: True, PATIENCE)
        self._say("the guest is up and says what disks it sees: none")

    def _create(self, client: Client, bus: Bus, file: Path | None) -> VolumeId:
        volume = VolumeId(new_uuid())
        origin = {"size": SIZES[bus]} if file is None else {"path": str(file.absolute())}
        asked = client.cast(HOST, "create_volume", volume_id=volume, name=f"demo-{bus}", **origin)
        _succeeded(client.wait_for(HOST, asked, every=0.02))
        return volume

    def _attach(self, client: Client, hearing: Hearing, volume: VolumeId, bus: Bus) -> Shown:
        row = client.call(
            HOST,
            "reserve_block_device_name",
            instance_uuid=self._stage.guest,
            volume_id=volume,
            disk_bus=bus.value,
        )
        self._say(f"reserved {row['device_name']} on {bus}, {row['address']}")
        asked = client.cast(
            HOST, "attach_volume", instance_uuid=self._stage.guest, bdm_uuid=row["uuid"]
        )
        self._hear(hearing, asked)
        shown = Shown(volume=volume, row=row)
        shown.guest = self._seen(shown)
        self._say(
            f"attached; the guest sees /dev/{shown.guest.device}, {shown.guest.size // MIB} MiB,"
            f" serial {shown.guest.serial}"
        )
        return shown

    def _detach(self, client: Client, hearing: Hearing, shown: Shown) -> None:
        asked = client.cast(
            HOST,
            "detach_volume",
            instance_uuid=self._stage.guest,
            volume_id=shown.volume,
            bdm_uuid=shown.row["uuid"],
        )
        self._hear(hearing, asked)
        self._stage.console.wait_for(
            lambda disks: not any(_is(report, shown) for report in disks.values()), PATIENCE
        )
        self._say(f"detached {shown.row['device_name']}; the guest has let go of it")

    def _hear(self, hearing: Hearing, operation: str) -> None:
        """Hear updates until the operation's end is told; raises WorkerError if it failed."""
        while True:
            update = hearing.wait(PATIENCE)
            if update is None:
                message = f"no update told the end of operation {operation}"
                raise WorkerError(message)
            self.updates.append(update)
            payload = update["payload"]
            if payload["operation_id"] == operation and not update["event_type"].endswith("start"):
                if payload["fault"] is not None:
                    raise WorkerError(payload["fault"]["message"])
                return

    def _seen(self, shown: Shown) -> GuestReport:
        disks = self._stage.console.wait_for(
            lambda found: any(_is(report, shown) for report in found.values()), PATIENCE
        )
        return next(report for report in disks.values() if _is(report, shown))

    def _look(self, client: Client) -> None:
        """Compare the four views of each device, and what the guest says of the one that stayed."""
        rows = {
            row["uuid"]: row["status"]
            for row in client.call(HOST, "list_block_devices", instance_uuid=self._stage.guest)
        }
        over_http = self._over_http()
        seen = self._stage.console.fresh(PATIENCE)
        with wiring.onlooker(self._stage.conf, self._stage.uri) as core:
            guest = core.outside.guests.describe(self._stage.guest)
            for shown in self.devices:
                held = core.outside.attachments.find(shown.volume, self._stage.guest)
                shown.views = {
                    "row": rows.get(shown.row["uuid"]),
                    "live": _target(guest.live, shown),
                    "persistent": _target(guest.persistent, shown),
                    "attachment": None if held is None else held.status.value,
                    "http": over_http.get(shown.volume),
                }
        stayed = self.devices[1]
        again = [report for report in seen.values() if _is(report, stayed)]
        stayed.kept_name = again == [stayed.guest]
        self._say(f"{stayed.row['device_name']} has kept its name: {stayed.kept_name}")

    def _over_http(self) -> dict[str, str]:
        """Ask as a client of Nova's would; return the name of each volume's device."""
        path = "/v2.1/servers/{}/os-volume_attachments"
        asked = HTTPConnection("127.0.0.1", self._stage.port, timeout=PATIENCE)
        with closing(asked):
            asked.request("GET", path.format(self._stage.guest))
            told = json.load(asked.getresponse())["volumeAttachments"]
        names = ", ".join(row["device"] for row in told)
        self._say(f"over HTTP, GET {path.format('…')} answers: {names}")
        return {row["volumeId"]: row["device"] for row in told}

    def _as_promised(self) -> bool:
        gone, stayed = self.devices
        target = stayed.row["device_name"].removeprefix("/dev/")
        return (
            all(gone.views[view] is None for view in VIEWS)
            and stayed.views
            == {
                "row": "attached",
                "live": target,
                "persistent": target,
                "attachment": "attached",
                "http": stayed.row["device_name"],
            }
            and stayed.kept_name is True
        )


def _is(report: GuestReport, shown: Shown) -> bool:
    return bool(report.serial) and report.serial in (
        shown.row["serial"],
        shown.row["serial"][:VIRTIO_SERIAL],
    )


def _target(layout: Layout | None, shown: Shown) -> str | None:
    disks = () if layout is None else layout.disks
    return next((disk.target for disk in disks if disk.alias == shown.row["alias"]), None)


def _succeeded(operation: Mapping[str, Any]) -> None:
    if operation["fault"] is not None:
        raise WorkerError(f"{operation['fault']['message']} [{operation['fault']['code']}]")
