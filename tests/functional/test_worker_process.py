"""``blockworker serve`` and the commands beside it, as processes; and kill -9."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import libvirt
import pytest

from tests.guests import GuestMaker
from tests.processes import Served, blockworker, configure
from worker.model.ids import new_uuid


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    """A worker's process, killed at the end if it still runs."""
    found = configure(tmp_path / "state", libvirtd)
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


def attached(served: Served, instance: str) -> dict[str, Any]:
    served.client.call("adopt_instance", domain=instance)
    volume = new_uuid()
    assert served.run("create_volume", volume_id=volume, size=1 << 20)["fault"] is None
    row = served.client.call("reserve_block_device_name", instance_uuid=instance, volume_id=volume)
    ended = served.run("attach_volume", instance_uuid=instance, bdm_uuid=row["uuid"])
    assert ended["fault"] is None
    found: dict[str, Any] = row
    return found


def test_the_commands_tell_what_the_worker_knows(
    served: Served, make_guest: GuestMaker, tmp_path: Path
) -> None:
    guest = make_guest(booted=False)
    assert served.told("instance", "adopt", guest.name)["uuid"] == guest.uuid
    made = served.told("volume", "create", "data", "--size", "2M")
    assert (made["name"], made["size"], made["status"]) == ("data", 2 << 20, "available")
    assert [found["id"] for found in served.told("volume", "list")] == [made["id"]]
    row = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=made["id"]
    )
    ended = served.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    assert served.told("device", "show", guest.uuid, made["id"])["status"] == "attached"
    shown = served.told("operation", "show", ended["operation_id"])
    names = [step["name"] for step in shown["steps"]]
    assert names.index("connector.connect") < names.index("disks.attach")
    assert "disks.attach" in served.command("operation", "show", ended["operation_id"]).stdout
    refused = served.command("volume", "delete", made["id"])
    assert (refused.returncode, "volume.in_use" in refused.stderr) == (1, True)


def test_without_a_worker_commands_read_and_do_not_change(
    served: Served, make_guest: GuestMaker
) -> None:
    guest = make_guest(booted=False)
    served.told("instance", "adopt", guest.name)
    assert served.stop() == 0
    assert [found["uuid"] for found in served.told("instance", "list")] == [guest.uuid]
    done = served.command("volume", "create", "--size", "1M")
    assert (done.returncode, "worker.unreachable" in done.stderr) == (1, True)


def test_a_second_worker_is_refused(served: Served) -> None:
    done = served.command("serve")
    assert done.returncode == 1
    assert "worker.lease_held" in done.stderr


def test_unknown_options_and_wrong_usage_exit_2(tmp_path: Path) -> None:
    file = tmp_path / "slip.conf"
    file.write_text("[DEFAULT]\nhots = a\n")
    done = blockworker("serve", "--config-file", file)
    assert (done.returncode, "hots" in done.stderr) == (2, True)
    assert blockworker("config", "check", "--config-file", file).returncode == 3
    assert blockworker("volume", "create").returncode == 2
    assert blockworker("--help").returncode == 0


def test_a_detach_that_was_killed_half_way_goes_on(served: Served, make_guest: GuestMaker) -> None:
    guest = make_guest()
    row = attached(served, guest.uuid)
    guest.wait_for_disk("vda")
    guest.domain.suspend()
    operation = served.begin(
        "detach_volume",
        instance_uuid=guest.uuid,
        volume_id=row["volume_id"],
        bdm_uuid=row["uuid"],
    )
    while served.client.call("get_operation", operation_id=operation)["state"] != "running":
        time.sleep(0.02)
    time.sleep(0.3)
    served.kill()
    served.start()
    guest.domain.resume()
    ended = served.end_of(operation)
    assert (ended["state"], ended["attempts"]) == ("succeeded", 1)
    assert served.client.call("list_block_devices", instance_uuid=guest.uuid) == []
    assert row["alias"] not in guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    guest.wait_for_no_disk("vda")


@pytest.mark.parametrize("pause", [0.0, 0.01, 0.03])
def test_an_attach_that_was_killed_at_any_moment_ends_once(
    served: Served, make_guest: GuestMaker, pause: float
) -> None:
    guest, volume = make_guest(booted=False), new_uuid()
    served.client.call("adopt_instance", domain=guest.uuid)
    served.run("create_volume", volume_id=volume, size=1 << 20)
    row = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
    )
    operation = served.begin("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    time.sleep(pause)
    served.kill()
    served.start()
    assert served.end_of(operation)["state"] == "succeeded"
    (found,) = served.client.call("list_block_devices", instance_uuid=guest.uuid)
    assert found["status"] == "attached"
    assert guest.domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE).count(row["alias"]) == 1
    assert served.client.call("get_volume", volume_id=volume)["status"] == "in-use"


def test_a_detach_that_outlasts_a_stop_goes_on_with_the_next_start(
    libvirtd: str, make_guest: GuestMaker, tmp_path: Path
) -> None:
    """The worker leaves in time, and its leaving is no failure of the operation."""
    served = configure(tmp_path / "state", libvirtd, graceful_timeout="0.5")
    served.start()
    try:
        guest = make_guest()
        row = attached(served, guest.uuid)
        guest.wait_for_disk("vda")
        guest.domain.suspend()
        operation = served.begin(
            "detach_volume", instance_uuid=guest.uuid, volume_id=row["volume_id"]
        )
        time.sleep(0.5)
        begun = time.monotonic()
        assert served.stop() == 0
        assert time.monotonic() - begun < 10
        served.start()
        found = served.client.call("get_operation", operation_id=operation)
        assert (found["state"], found["fault"]) == ("running", None)
        guest.domain.resume()
        assert served.end_of(operation)["state"] == "succeeded"
        assert served.client.call("list_block_devices", instance_uuid=guest.uuid) == []
    finally:
        served.kill()
