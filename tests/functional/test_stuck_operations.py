"""Out of stuck as an operator goes: two commands beside a running worker."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.guests import GuestMaker
from tests.processes import Served, configure
from worker.model.ids import new_uuid

FAULT = {"code": "operation.left_behind", "message": "the disk is still there"}


@pytest.fixture
def served(libvirtd: str, tmp_path: Path) -> Iterator[Served]:
    found = configure(tmp_path / "state", libvirtd)
    found.start()
    yield found
    if found.process is not None and found.process.poll() is None:
        found.kill()


@pytest.fixture
def stuck(served: Served, make_guest: GuestMaker) -> tuple[str, str, str]:
    """An attach that has left its disk in the guest; its id, instance and volume."""
    guest = make_guest(booted=False)
    served.client.call("adopt_instance", domain=guest.uuid)
    volume = new_uuid()
    served.run("create_volume", volume_id=volume, size=1 << 20)
    row = served.client.call(
        "reserve_block_device_name", instance_uuid=guest.uuid, volume_id=volume
    )
    ended = served.run("attach_volume", instance_uuid=guest.uuid, bdm_uuid=row["uuid"])
    get_stuck(served, ended["operation_id"])
    return ended["operation_id"], guest.uuid, volume


def get_stuck(served: Served, operation: str) -> None:
    """Write into the journal what a walk back that failed would have.

    It had come to the unplug when the completion failed: one that was completed goes forward.
    """
    with closing(sqlite3.connect(served.state / "blockworker.sqlite", timeout=10)) as database:
        change = (
            "update operations set state='stuck', past_commit_point=false, fault_code=?,"
            " fault_message=? where id=?"
        )
        database.execute(change, (FAULT["code"], FAULT["message"], operation))
        walked = "update steps set name='disks.unplug', outcome='failed', fault_code=?"
        last = " where operation_id=? and name='attachments.complete'"
        database.execute(walked + last, (FAULT["code"], operation))
        database.execute("update block_device_mapping set status='error'")
        database.commit()


def test_retry_runs_it_to_its_end_and_says_so(served: Served, stuck: tuple[str, str, str]) -> None:
    operation, instance, volume = stuck

    done = served.command("operation", "retry", operation)

    assert done.returncode == 0, done.stderr
    said = f"operation {operation} (attach_volume) succeeded: it was run again to its end\n"
    assert done.stdout == said
    assert served.told("device", "show", instance, volume)["status"] == "attached"
    refused = served.command("operation", "retry", operation)
    assert (refused.returncode, "operation.wrong_state" in refused.stderr) == (1, True)


def test_a_retry_that_fails_is_a_failure(served: Served, stuck: tuple[str, str, str]) -> None:
    operation, _, _ = stuck
    for file in (served.state / "volumes").iterdir():
        file.unlink()

    done = served.command("operation", "retry", operation)

    assert (done.returncode, done.stdout) == (1, "")
    ended = served.told("operation", "show", operation)
    assert ended["state"] == "failed"
    assert f"[{ended['fault']['code']}]" in done.stderr


def test_abandon_says_what_it_decided_and_frees_the_device(
    served: Served, stuck: tuple[str, str, str]
) -> None:
    operation, instance, volume = stuck

    answer = served.told("operation", "abandon", operation)

    assert (answer["state"], answer["fault"]) == ("abandoned", FAULT)
    assert answer["message"].endswith(f"is attached: the guest has ua-{volume}")
    assert served.told("device", "show", instance, volume)["status"] == "attached"
    ended = served.run("detach_volume", instance_uuid=instance, volume_id=volume)
    assert ended["state"] == "succeeded"


def test_a_destroy_of_the_instance_gives_it_up(served: Served, stuck: tuple[str, str, str]) -> None:
    operation, instance, _ = stuck

    ended = served.run("destroy_instance", instance_uuid=instance)

    assert ended["state"] == "succeeded", ended
    given_up = served.told("operation", "show", operation)
    assert (given_up["state"], given_up["fault"]) == ("abandoned", FAULT)
    assert served.told("operation", "list", "--state", "stuck") == []
