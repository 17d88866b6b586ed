"""A libvirtd that is killed while a disk is copied: QEMU goes on, and is agreed with afterwards."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import libvirt
import pytest

from tests.contract.daemons import SOON, Victim, victim
from tests.contract.hypervisors import LibvirtLab
from tests.contract.test_block_copies import SIZE, SLOW, Scene, copies_of
from tests.guests import Guest, found_again, guest_maker
from worker.cmd.demo.guest_image import GuestImage
from worker.model.block_copy import BlockCopy
from worker.model.disk import Disk
from worker.model.identity.lookup import disk_by_alias
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.qemu.monitor import ask

_PIVOT_AND_LEAVE = (
    libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT | libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_ASYNC
)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Victim]:
    with victim() as made:
        yield made


@pytest.fixture
def make_scene(
    daemon: Victim, guest_image: GuestImage, tmp_path: Path
) -> Iterator[Callable[[], Scene]]:
    """Makes guests of their own: what a libvirtd's death did to one is no other test's matter."""
    with ExitStack() as stack:

        def make() -> Scene:
            guests = stack.enter_context(guest_maker(daemon.start(), guest_image, tmp_path))
            connection = LibvirtConnection(daemon.start(), patience=5.0, reopen_interval=0.2)
            stack.callback(connection.close)
            return Scene(LibvirtLab(guests, connection), tmp_path)

        yield make
        daemon.start()


@pytest.fixture
def scene(make_scene: Callable[[], Scene]) -> Scene:
    return make_scene()


def guest_of(scene: Scene) -> Guest:
    assert isinstance(scene.lab, LibvirtLab)
    assert scene.lab.guest is not None
    return found_again(scene.lab.guest)


def until(scene: Scene, wanted: BlockCopy) -> None:
    copies, end = copies_of(scene.lab), time.monotonic() + SOON
    while (seen := copies.look(scene.instance, scene.disk.alias)) != wanted:
        assert time.monotonic() < end, seen
        time.sleep(0.1)


def hurry(scene: Scene) -> None:
    """Let a slow copy be as fast as it can, and wait until it is whole."""
    guest_of(scene).domain.blockJobSetSpeed(scene.disk.target, 0, 0)
    copies, end = copies_of(scene.lab), time.monotonic() + SOON
    while not copies.look(scene.instance, scene.disk.alias).ready:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_copy_goes_on_without_its_libvirtd(scene: Scene, daemon: Victim) -> None:
    copies, new = copies_of(scene.lab, SLOW), scene.onto()
    copies.begin(scene.instance, new, SIZE)
    daemon.kill()
    daemon.start()
    assert copies.look(scene.instance, scene.disk.alias).target == new.source.name
    copies.begin(scene.instance, new, SIZE)
    hurry(scene)
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    assert scene.sources() == [new.source.name] * 2


def test_a_copy_is_aborted_by_the_next_libvirtd(scene: Scene, daemon: Victim) -> None:
    copies, new = copies_of(scene.lab, SLOW), scene.onto()
    copies.begin(scene.instance, new, SIZE)
    daemon.kill()
    daemon.start()
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    until(scene, BlockCopy(source=scene.disk.source.name))
    opened = {node["file"] for node in ask(guest_of(scene).domain, "query-named-block-nodes")}
    assert new.source.name not in opened


def test_a_copy_that_libvirt_knows_nothing_of_makes_room_for_another(
    scene: Scene, daemon: Victim
) -> None:
    """As of a libvirtd that died before it had written down what QEMU was told."""
    copies, new = copies_of(scene.lab), scene.onto()
    domain = guest_of(scene).domain
    device = next(
        block["inserted"]["node-name"]
        for block in ask(domain, "query-block")
        if scene.disk.alias in block["qdev"]
    )
    for node in (
        {"driver": "file", "filename": new.source.name, "node-name": "libvirt-80-storage"},
        {"driver": "raw", "file": "libvirt-80-storage", "node-name": "libvirt-80-format"},
    ):
        ask(domain, "blockdev-add", node)
    job = f"copy-{scene.disk.target}-{device}"
    copy = {"job-id": job, "device": device, "target": "libvirt-80-format", "sync": "full"}
    ask(domain, "blockdev-mirror", {**copy, "auto-dismiss": False})
    scene.lab.doubt(scene.instance)
    copies.begin(scene.instance, new, SIZE)
    hurry(scene)
    copies.pivot(scene.instance, scene.disk.alias, new.source.name)
    assert scene.sources() == [new.source.name] * 2
    assert ask(guest_of(scene).domain, "query-jobs") == []


def test_a_copy_that_libvirt_knows_nothing_of_is_ended(scene: Scene, daemon: Victim) -> None:
    copies, new = copies_of(scene.lab), scene.onto()
    domain = guest_of(scene).domain
    scene.lab.doubt(scene.instance)
    copies.abort(scene.instance, scene.disk.alias, new.source.name)
    assert ask(domain, "query-jobs") == []
    assert scene.sources() == [scene.disk.source.name] * 2


def test_an_end_that_libvirt_missed_is_seen_in_qemu(
    make_scene: Callable[[], Scene], daemon: Victim
) -> None:
    """libvirt shows `ready='pivot'` for ever, and denies the job, where it died in the midst.

    Now and then it ends the guest instead, when it is back: another one is tried then.
    """
    tried = (gone_over(make_scene(), daemon) for _guest in range(5))
    scene, new = next(found for found in tried if found is not None)
    copies = copies_of(scene.lab)
    assert copies.look(scene.instance, new.alias) == BlockCopy(source=new.source.name)
    copies.pivot(scene.instance, new.alias, new.source.name)
    copies.settle(scene.instance, new, SIZE)
    kept = scene.lab.guests.describe(scene.instance).persistent
    disk = disk_by_alias(kept, new.alias)
    assert disk is not None
    assert disk.source == new.source.name
    opened = {node["file"] for node in ask(guest_of(scene).domain, "query-named-block-nodes")}
    assert new.source.name in opened
    assert scene.disk.source.name not in opened


def gone_over(scene: Scene, daemon: Victim) -> tuple[Scene, Disk] | None:
    """Have a libvirtd die while a guest goes over; None if the guest died as well."""
    new = scene.onto()
    copies_of(scene.lab).begin(scene.instance, new, SIZE)
    hurry(scene)
    guest = guest_of(scene)
    guest.domain.blockJobAbort(scene.disk.target, _PIVOT_AND_LEAVE)
    daemon.kill()
    dismiss(daemon.state, guest.name)
    daemon.start()
    return (scene, new) if guest_of(scene).runs else None


def dismiss(state: Path, name: str) -> None:
    """Have QEMU forget the jobs that are over, as a libvirtd does."""
    (path,) = state.rglob(f"domain-*-{name}/monitor.sock")
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.connect(str(path))
        answers = monitor.makefile("rw")
        answers.readline()
        say(answers, "qmp_capabilities")
        end = time.monotonic() + SOON
        while jobs := say(answers, "query-jobs"):
            assert time.monotonic() < end
            for job in jobs:
                if job["status"] == "concluded":
                    say(answers, "job-dismiss", id=job["id"])


def say(answers: TextIO, command: str, **arguments: str) -> Any:  # noqa: ANN401
    answers.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    answers.flush()
    while "return" not in (answer := json.loads(answers.readline())):
        assert "error" not in answer, answer
    return answer["return"]
