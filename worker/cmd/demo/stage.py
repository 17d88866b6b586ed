"""What the demo plays on: a state folder, a private libvirtd, one small guest and a worker."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import libvirt
from oslo_config import cfg

from worker import conf as options
from worker import wiring
from worker.cmd.demo.guest import GuestConsole, domain_xml
from worker.cmd.demo.guest_image import build_guest_image
from worker.errors import HypervisorRefused
from worker.model.ids import InstanceId, new_uuid
from worker.virt.accel import domain_type
from worker.virt.libvirtd.private import PrivateLibvirtd

GUEST = "blockworker-demo"
HOST = "demo"
PORTS = 10

CONFIGURATION = f"""[DEFAULT]
host = {HOST}
state_path = {{state}}
transport_url = kombu+memory://localhost/
graceful_timeout = 5

[hypervisor]
uri = {wiring.PRIVATE}
"""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Everything that the story needs; ``conf`` is that of the running worker.

    At ``port`` an API answers anybody on this machine.
    """

    conf: cfg.ConfigOpts
    uri: str
    port: int
    guest: InstanceId
    console: GuestConsole


@contextmanager
def set_up(state: Path, say: Say, *, keep: bool) -> Iterator[Stage]:
    """Set the stage, and clear it afterwards whatever happened; ``keep`` leaves the guest.

    An earlier stage in the same folder is cleared first.
    """
    clear(state)
    with ExitStack() as stack:
        say("looking for the guest's kernel and initramfs; they are built once")
        image = build_guest_image(state / "image")
        say("starting a libvirtd of its own")
        if not keep:
            stack.callback(clear, state)
        uri = PrivateLibvirtd(state / "libvirt").start()
        say("booting a small guest")
        console = GuestConsole(state / "console.log")
        uuid = InstanceId(new_uuid())
        xml = domain_xml(
            GUEST, uuid, image, state / "console.log", domain_type=domain_type(), ports=PORTS
        )
        _start(uri, xml)
        conf = _configuration(state)
        worker = wiring.Worker(conf)
        worker.start()
        stack.callback(worker.stop)
        api = wiring.Api(conf, beside_worker=True)
        api.start()
        stack.callback(api.stop)
        yield Stage(conf=conf, uri=uri, port=api.port, guest=uuid, console=console)


def clear(state: Path) -> None:
    """Remove guest, daemon, database and volumes of a demo; its cached image stays."""
    if not (state / "libvirt").exists():
        return
    # Its guests outlive a daemon, so that one which is gone is started to end them.
    daemon = PrivateLibvirtd(state / "libvirt")
    _destroy(daemon.start())
    daemon.stop()
    for pattern in ("blockworker.sqlite*", "volumes/*", "blockworker.conf"):
        for file in state.glob(pattern):
            file.unlink()
    (state / "console.log").unlink(missing_ok=True)


def configuration_file(state: Path) -> Path:
    """Return the configuration of the demo's worker, for whoever goes on with it."""
    return state / "blockworker.conf"


def _configuration(state: Path) -> cfg.ConfigOpts:
    file = configuration_file(state)
    file.write_text(CONFIGURATION.format(state=state))
    # Not in the file: whoever goes on with it is asked for a token, at the usual port.
    return options.load([file], api__listen="127.0.0.1:0", api__auth="none")


def _start(uri: str, xml: str) -> None:
    try:
        connection = libvirt.open(uri)
        connection.defineXML(xml).create()
        connection.close()
    except libvirt.libvirtError as error:
        message = f"the demo's guest did not start: {error}"
        raise HypervisorRefused(message) from error


def _destroy(uri: str) -> None:
    connection = libvirt.open(uri)
    for domain in connection.listAllDomains():
        with suppress(libvirt.libvirtError):
            domain.destroy()
        domain.undefine()
    connection.close()
