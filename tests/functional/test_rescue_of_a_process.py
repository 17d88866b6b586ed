"""A rescue outlives the worker and the boot of its host; and a password that only it may know."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest
from lxml import etree
from pycdlib import PyCdlib

from tests.chaos.stage import soon
from tests.functional.rescues import OWN, RESCUE, Patient, make_two_images
from tests.guests import remove_guests
from tests.processes import SOON, Served, configure
from worker.model.ids import InstanceId, new_uuid

pytestmark = pytest.mark.timeout(600)

PASSWORD = "k9-lupus-vatra-62"
OURS = "config-drive.iso"


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    """A worker's process, killed at the end if it still runs."""
    found = configure(tmp_path / "state", libvirtd)
    make_two_images(found.state / "images")
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


@pytest.fixture
def patient(served: Served, libvirtd: str) -> Iterator[Patient]:
    """An instance with a volume and a config drive, being booted."""
    uuid, volume = InstanceId(new_uuid()), new_uuid()
    assert served.run("create_volume", volume_id=volume, size=1 << 20)["fault"] is None
    connection = libvirt.open(libvirtd)
    try:
        ended = served.run(
            "build_instance",
            instance_uuid=uuid,
            name=f"test-{uuid[:8]}",
            vcpus=1,
            memory_mb=160,
            image_ref="root",
            config_drive=True,
            block_devices=[{"source_type": "volume", "volume_id": volume}],
        )
        assert ended["fault"] is None, ended
        yield Patient(
            uuid=uuid,
            folder=served.state / "instances" / uuid,
            connection=connection,
            call=served.client.call,
            run=served.run,
        )
    finally:
        connection.close()
        remove_guests(libvirtd, [uuid])


def test_a_rescue_outlives_its_worker_and_a_boot_of_the_host(
    served: Served, patient: Patient
) -> None:
    before, kept, files = patient.sees(OWN, 3), patient.kept(), patient.files()
    patient.rescue("virtio-disk", rescue_password=PASSWORD)
    in_rescue = patient.sees(RESCUE, 4)
    assert in_rescue.items() >= before.items()
    drive = drive_of(patient)
    assert drive != patient.folder / OURS
    assert said_on(drive)["admin_pass"] == PASSWORD
    assert "admin_pass" not in said_on(patient.folder / OURS)
    assert files_with(served.state, PASSWORD) == {drive}

    served.kill()
    served.start()
    assert patient.vm_state == "rescued"
    patient.unrescue()
    assert patient.sees(OWN, 3) == before
    assert (patient.vm_state, patient.kept(), patient.files()) == ("active", kept, files)
    assert files_with(served.state, PASSWORD) == set()

    patient.rescue("virtio-disk")
    patient.sees(RESCUE, 4)
    boot_under(served, patient)
    assert soon(patient.domain.isActive, SOON)
    again = patient.sees(RESCUE, 4)
    assert {name: where for name, where in again.items() if name in before} == before
    assert soon(lambda: patient.vm_state == "rescued", SOON)
    assert patient.call("find_drift", instance_uuid=patient.uuid)["differences"] == []

    patient.unrescue()
    assert patient.sees(OWN, 3) == before
    assert (patient.vm_state, patient.kept(), patient.files()) == ("active", kept, files)


def boot_under(served: Served, patient: Patient) -> None:
    """Have the host go down under worker and guest, as far as either can tell."""
    served.kill()
    patient.domain.destroy()
    patient.forget_what_was_said()
    (served.state / "boot-id").write_text(new_uuid())
    served.start()


def drive_of(patient: Patient) -> Path:
    """Return the file of the CD that the running guest has."""
    (found,) = etree.fromstring(patient.domain.XMLDesc()).iterfind("devices/disk[@device='cdrom']")
    source = found.find("source")
    assert source is not None
    return Path(str(source.get("file")))


def said_on(drive: Path) -> dict[str, Any]:
    image, read = PyCdlib(), io.BytesIO()
    image.open(str(drive))
    image.get_file_from_iso_fp(read, joliet_path="/openstack/latest/meta_data.json")
    image.close()
    found: dict[str, Any] = json.loads(read.getvalue())
    return found


def files_with(folder: Path, text: str) -> set[Path]:
    """Return the files below the folder that hold the text: the database and the log are there."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {"serve.log"} <= {path.name for path in files}
    assert any(path.name.endswith((".db", ".sqlite")) for path in files), files
    return {path for path in files if text.encode() in path.read_bytes()}
