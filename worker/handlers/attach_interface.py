"""Attach a network interface to an instance."""

from dataclasses import dataclass

from worker.errors import RequestMalformed
from worker.handlers.parts.plug_peripheral import plug_in
from worker.model.build.networks import fault_in, interface_of
from worker.model.build.wanted import WantedNetwork
from worker.model.ids import InstanceId, PortId
from worker.model.peripheral import Peripheral
from worker.ports import Ports


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachInterface:
    """Operation: join an instance to a network of its host, by one interface more.

    A MAC address that is not given is made of the port's id, as a build makes it.
    """

    instance_uuid: InstanceId
    port_id: PortId
    network: str
    target: str | None = None
    mac_address: str | None = None
    model: str | None = None


_ARGUMENTS = {"kind": "network", "mac": "mac_address"}


def attach_interface(request: AttachInterface, ports: Ports) -> Peripheral:
    """Make the interface visible in the instance, or leave no trace, its row included."""
    wanted = WantedNetwork(
        port_id=request.port_id,
        kind=request.network,
        target=request.target,
        mac=request.mac_address,
        model=request.model,
    )
    fault = fault_in(wanted)
    if fault is not None:
        field, wrong = fault
        message = f"{_ARGUMENTS.get(field, field)} {wrong}"
        raise RequestMalformed(message)
    return plug_in(request.instance_uuid, interface_of(wanted), ports)
