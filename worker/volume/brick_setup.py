"""os-brick, made ready: its settings, its connectors, its tools, its view of a host."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import os_brick
from os_brick import privileged
from os_brick.initiator import connector as initiator
from os_brick.initiator.connectors.base import BaseLinuxConnector
from os_brick.initiator.connectors.remotefs import RemoteFsConnector
from os_brick.privileged import rootwrap
from oslo_concurrency.processutils import ProcessExecutionError
from oslo_config import cfg
from oslo_privsep import priv_context
from oslo_utils import importutils

from worker.errors import ConnectFailed
from worker.volume.protocols import SOURCES

SIGNS: Mapping[str, tuple[str, ...]] = {
    "ISCSIConnector": ("/etc/iscsi/initiatorname.iscsi",),
    "FibreChannelConnector": ("/sys/class/fc_host",),
    "FibreChannelConnectorS390X": ("/sys/class/fc_host",),
    "FibreChannelConnectorPPC64": ("/sys/class/fc_host",),
    "NVMeOFConnector": ("/etc/nvme/hostnqn", "/etc/nvme/hostid"),
    "LightOSConnector": ("/etc/nvme/hostnqn", "/etc/discovery-client"),
    "ScaleIOConnector": ("/dev/scini",),
}
"""What is on a host that can speak the protocol: without it, os-brick would warn, or make it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrickOptions:
    """How os-brick is to work.

    ``root_helper`` is the command that starts os-brick's privileged helper, such as ``sudo -n``;
    empty, its tools run in this process with this process's rights: all of them as root, and as an
    ordinary user still enough for ``local``. A helper that would ask for a password must be told
    not to: nobody is there to answer. ``lock_path`` is the folder of os-brick's lock files; every
    process on the host that uses os-brick must name the same. Below ``mount_path`` remote file
    systems are mounted, with ``mount_options`` by os-brick's name of their type.
    """

    lock_path: str
    root_helper: str = ""
    multipath: bool = False
    enforce_multipath: bool = False
    device_scan_attempts: int = 3
    connect_attempts: int = 3
    iscsi_transport: str = "default"
    mount_path: str = ""
    mount_options: Mapping[str, str] = field(default_factory=dict)


def set_up(options: BrickOptions) -> None:
    """Make os-brick's settings; they are the whole process's."""
    for context in (privileged.default, privileged.brick_privsep_hide_output):
        context.set_client_mode(bool(options.root_helper))
    if options.root_helper:
        # os-brick drops the root_helper that its calls are given; this is where it counts.
        priv_context.init(root_helper=shlex.split(options.root_helper))
    cfg.CONF.set_override("lock_path", options.lock_path, group="oslo_concurrency")
    os_brick.setup(cfg.CONF)


def make_connector(protocol: str, options: BrickOptions) -> Any:  # noqa: ANN401 - os-brick has no types
    """Return os-brick's connector; raises its InvalidConnectorProtocol."""
    mount = SOURCES[protocol].mount
    if mount is not None:
        return _mounting(mount, options)
    transport = {"transport": options.iscsi_transport} if protocol == "iscsi" else {}
    return initiator.InitiatorConnector.factory(
        protocol,
        options.root_helper,
        use_multipath=options.multipath,
        device_scan_attempts=options.device_scan_attempts,
        **transport,
    )


def _mounting(mount: str, options: BrickOptions) -> Any:  # noqa: ANN401 - os-brick has no types
    # Its settings have OpenStack's older name of the type.
    prefix = "smbfs" if mount == "cifs" else mount
    said = {
        f"{prefix}_mount_point_base": options.mount_path,
        f"{prefix}_mount_options": options.mount_options.get(mount) or None,
    }
    base = {"mount_point_base": options.mount_path}
    return RemoteFsConnector(mount, options.root_helper, conn=base, **said)


def asker(options: BrickOptions) -> Callable[..., str]:
    """Return what runs a tool as os-brick runs its own; it raises ConnectFailed."""

    def ask(*command: str) -> str:
        try:
            told, _ = rootwrap.execute(
                *command, run_as_root=True, root_helper=options.root_helper, timeout=60
            )
        except ProcessExecutionError as error:
            said = " ".join(str(error.stderr or error.description or "").split())
            raise ConnectFailed(f"{shlex.join(command)} failed: {said}") from error
        return str(told)

    return ask


def properties_of(host: str, options: BrickOptions) -> dict[str, Any]:
    """Return what os-brick's connectors of the known protocols say of this host."""
    found: dict[str, Any] = {}
    for connector in _present_connectors():
        found |= connector.get_connector_properties(
            options.root_helper,
            host=host,
            multipath=options.multipath,
            enforce_multipath=options.enforce_multipath,
            execute=None,
        )
    return found


def _present_connectors() -> Iterator[Any]:
    """Yield os-brick's classes for the protocols of the table that this host could speak.

    ``os_brick.initiator.connector.get_connector_properties`` asks all fifteen: two would write
    below /etc/nvme, and most warn of what is not installed.
    """
    yield BaseLinuxConnector
    mapping = initiator.get_connector_mapping()
    known = (mapping[protocol.upper()] for protocol in SOURCES if protocol.upper() in mapping)
    for path in dict.fromkeys(known):
        signs = SIGNS.get(path.rpartition(".")[2], ())
        if all(Path(sign).exists() for sign in signs):
            yield importutils.import_class(path)
