"""A network interface that is asked for: what of it can be refused by its words, and what it is."""

import re
from uuid import UUID

from worker.model.build.wanted import WantedNetwork
from worker.model.ids import PortId
from worker.model.specification import MADE, Interface, InterfaceKind

_MAC = re.compile(r"[0-9a-f][02468ace](?::[0-9a-f]{2}){5}")
_MODEL = re.compile(r"[a-z0-9-]{1,32}")
_HOST_INTERFACE = re.compile(r"[^\s/\x00-\x1f]{1,15}")


def fault_in(network: WantedNetwork) -> tuple[str, str] | None:
    """Return the field that cannot be, and what is wrong with it; None for nothing."""
    if network.kind not in MADE:
        return "kind", f"is none of {', '.join(sorted(MADE))}"
    user = network.kind == InterfaceKind.USER
    if user and network.target is not None:
        return "target", "says nothing of an interface in user mode"
    if not user and _HOST_INTERFACE.fullmatch(network.target or "") is None:
        return "target", f"is no name of a {network.kind} of the host"
    if network.mac is not None and _MAC.fullmatch(network.mac.lower()) is None:
        return "mac", "is no unicast MAC address like 52:54:00:12:34:56"
    if network.model is not None and _MODEL.fullmatch(network.model) is None:
        return "model", "is no name of a network card"
    return None


def interface_of(network: WantedNetwork, model: str = "virtio") -> Interface:
    """Return the interface; its MAC is made of the port's id unless it is given."""
    return Interface(
        port=network.port_id,
        kind=InterfaceKind(network.kind),
        mac=(network.mac or _mac_of(network.port_id)).lower(),
        target=network.target,
        model=network.model or model,
    )


def _mac_of(port: PortId) -> str:
    """52:54:00 is the range of QEMU's own guests."""
    last = UUID(port).bytes[-3:]
    return ":".join(f"{byte:02x}" for byte in (0x52, 0x54, 0x00, *last))
