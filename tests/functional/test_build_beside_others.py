"""Other hands define a domain between a build's last look and its own: libvirt keeps theirs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from tests.functional.builders import Builder
from tests.functional.rigs import MakeRig
from tests.guests import remove_guests
from worker.model.ids import new_uuid

MakeOthers = Callable[[str, str], str]


@pytest.fixture
def others(libvirtd: str) -> Iterator[MakeOthers]:
    """Defines a domain as other hands do; returns what libvirt keeps of it."""
    connection, made = libvirt.open(libvirtd), set[str]()

    def define(uuid: str, name: str) -> str:
        made.add(uuid)
        domain = connection.defineXML(
            f"<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        return str(domain.XMLDesc())

    yield define
    connection.close()
    remove_guests(libvirtd, made)


@pytest.mark.parametrize("same", ["uuid", "name"])
def test_it_stays_and_the_build_leaves_nothing(
    builder: Builder, make_rig: MakeRig, others: MakeOthers, tmp_path: Path, same: str
) -> None:
    instance, other = new_uuid(), new_uuid()
    uuid, name = (
        (instance, f"theirs-{other[:8]}") if same == "uuid" else (other, f"test-{instance[:8]}")
    )
    theirs: list[str] = []

    def watch(step: str) -> AbstractContextManager[None]:
        return meanwhile(step)

    @contextmanager
    def meanwhile(step: str) -> Iterator[None]:
        if step == "machines.define":
            theirs.append(others(uuid, name))
        yield

    rig = make_rig(
        image__folder=str(tmp_path / "images"),
        image__instances_path=str(builder.instances),
        watches=(watch,),
    )
    ended = replace(builder, rig=rig).build(instance, image_ref="root", ephemeral_gb=[1])
    assert ended["state"] == "failed"
    assert ended["fault"]["code"] == ("hypervisor.refused" if same == "uuid" else "domain.taken")
    assert [builder.connection.lookupByUUIDString(uuid).XMLDesc()] == theirs
    assert rig.call("list_instances") == []
    assert list(builder.instances.iterdir()) == []
