"""The adapters of everything outside, as the configuration asks for them."""

from functools import partial
from pathlib import Path
from typing import TypedDict

from oslo_config import cfg

from worker.image.host_files import LocalHostFiles
from worker.model.instance import Instance
from worker.persistence.repositories import Repositories
from worker.ports import Connector, Outside
from worker.virt.autostart import LibvirtAutostart
from worker.virt.block_copies import LibvirtBlockCopies
from worker.virt.definitions import LibvirtDefinitions
from worker.virt.disks import LibvirtGuestDisks
from worker.virt.guest_secrets import LibvirtGuestSecrets
from worker.virt.guests import LibvirtGuests
from worker.virt.libvirtd.connection import LibvirtConnection
from worker.virt.machines import LibvirtMachines
from worker.virt.peripherals import LibvirtGuestPeripherals
from worker.virt.power import LibvirtPower
from worker.virt.qemu.insides import LibvirtGuestInsides
from worker.virt.rescues import LibvirtRescues
from worker.volume.encrypted import EncryptedVolumes
from worker.volume.qemu_initiator import QemuInitiator, initiator_name
from worker.volume.rbd import rbd_images
from worker.wiring.brick import cached, make_brick
from worker.wiring.exports import Exports
from worker.wiring.images import make_config_drives, make_images, make_local_disks
from worker.wiring.keys import make_keys
from worker.wiring.leftovers import make_leftovers
from worker.wiring.settings import state_path
from worker.wiring.volumes import make_volume_service

MIB = 1 << 20


def make_outside(
    conf: cfg.ConfigOpts,
    connection: LibvirtConnection,
    repositories: Repositories,
    exports: Exports,
) -> Outside:
    """Return the adapters that the configuration asks for; nothing is connected yet."""
    folder = state_path(conf)
    connector = cached(_make_connector(conf, folder), conf)
    service = make_volume_service(conf, repositories, connector.properties, exports)
    asking = _asking(conf)
    return Outside(
        guests=LibvirtGuests(connection),
        disks=LibvirtGuestDisks(connection, **asking),
        block_copies=LibvirtBlockCopies(
            connection, rate=lambda: conf.hypervisor.swap_bandwidth * MIB
        ),
        guest_peripherals=LibvirtGuestPeripherals(connection, **asking),
        insides=LibvirtGuestInsides(connection, **asking),
        guest_secrets=LibvirtGuestSecrets(connection),
        machines=LibvirtMachines(connection),
        power=LibvirtPower(connection),
        rescues=LibvirtRescues(connection),
        definitions=LibvirtDefinitions(connection),
        autostart=LibvirtAutostart(connection),
        host_files=LocalHostFiles(),
        images=make_images(conf, partial(_instances, repositories)),
        local_disks=make_local_disks(conf),
        config_drives=make_config_drives(conf),
        volumes=service.volumes,
        attachments=service.attachments,
        pool=service.pool,
        keys=make_keys(conf),
        connector=connector,
        leftovers=make_leftovers(conf, folder, exports),
    )


class _Asking(TypedDict):
    """How often a guest is asked to let go of a device, and how long it is waited for."""

    detach_retry_interval: float
    detach_attempts: int


def _asking(conf: cfg.ConfigOpts) -> _Asking:
    return {
        "detach_retry_interval": conf.hypervisor.detach_retry_interval,
        "detach_attempts": conf.hypervisor.detach_attempts,
    }


def _make_connector(conf: cfg.ConfigOpts, folder: Path) -> Connector:
    return EncryptedVolumes(_by_protocol(conf, folder))


def _by_protocol(conf: cfg.ConfigOpts, folder: Path) -> Connector:
    brick = make_brick(conf, folder)
    host = rbd_images(brick, user=conf.volume.rbd_user, keyring=conf.volume.rbd_keyring)
    if conf.volume.iscsi_initiator != "qemu":
        return host
    name = conf.volume.iscsi_initiator_name or initiator_name(conf.host)
    return QemuInitiator(host, name=name)


def _instances(repositories: Repositories) -> tuple[Instance, ...]:
    return repositories.for_call().instances.list()
