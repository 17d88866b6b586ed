"""blockworker device peripherals, and attach and detach of interfaces and host devices."""

import argparse
from typing import Any

from worker.cmd import asking
from worker.cmd.commands import Subcommand
from worker.cmd.output import print_fields, print_rows

COLUMNS = (
    "uuid", "kind", "port_id", "mac_address", "network", "target", "host_device", "status",
    "address", "alias",
)  # fmt: skip


def show_all(arguments: argparse.Namespace) -> int:
    """List the live interfaces and host devices."""
    rows = asking.read(arguments, "list_peripherals", instance_uuid=arguments.instance)
    print_rows(rows, COLUMNS, as_json=arguments.json)
    return asking.DONE


def attach_interface(arguments: argparse.Namespace) -> int:
    """Attach an interface and wait for the end."""
    return _carry_out(
        arguments,
        "attach_interface",
        port_id=arguments.port,
        network=arguments.network,
        target=arguments.target,
        mac_address=arguments.mac,
        model=arguments.model,
    )


def detach_interface(arguments: argparse.Namespace) -> int:
    """Detach an interface and wait for the end."""
    return _carry_out(
        arguments,
        "detach_interface",
        port_id=arguments.port,
        peripheral_uuid=arguments.uuid,
    )


def attach_host_device(arguments: argparse.Namespace) -> int:
    """Attach a host device and wait for the end."""
    return _carry_out(arguments, "attach_host_device", host_device=arguments.device)


def detach_host_device(arguments: argparse.Namespace) -> int:
    """Detach a host device and wait for the end."""
    return _carry_out(
        arguments,
        "detach_host_device",
        host_device=arguments.device,
        peripheral_uuid=arguments.uuid,
    )


def _carry_out(arguments: argparse.Namespace, method: str, **more: Any) -> int:  # noqa: ANN401
    done = asking.carry_out(arguments, method, instance_uuid=arguments.instance, **more)
    if arguments.json:
        print_fields(done, as_json=True)
    return asking.DONE


def _instance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")


def _attached_interface(parser: argparse.ArgumentParser) -> None:
    _instance(parser)
    parser.add_argument("port", metavar="PORT", help="the port's id; its alias is made of it")
    parser.add_argument(
        "--network", choices=("bridge", "tap", "user"), required=True, help="how it is joined"
    )
    parser.add_argument("--target", metavar="NAME", help="the bridge or tap of the host")
    parser.add_argument("--mac", metavar="MAC", help="its address (default: made of the port's id)")
    parser.add_argument("--model", help="the network card (default: virtio)")


def _detached_interface(parser: argparse.ArgumentParser) -> None:
    _instance(parser)
    _one_of(parser, "port", "the port's id")


def _attached_host_device(parser: argparse.ArgumentParser) -> None:
    _instance(parser)
    parser.add_argument("device", metavar="DEVICE", help=_NAMES)


def _detached_host_device(parser: argparse.ArgumentParser) -> None:
    _instance(parser)
    _one_of(parser, "device", _NAMES)


_NAMES = "pci:0000:03:00.0, usb:046d:c52b (vendor and product), usb:1.4 (bus and device), mdev:UUID"


def _one_of(parser: argparse.ArgumentParser, name: str, says: str) -> None:
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(name, metavar=name.upper(), nargs="?", help=says)
    given.add_argument("--uuid", metavar="UUID", help="its row, as `device peripherals` shows it")


COMMANDS = [
    Subcommand(
        "peripherals", "list the interfaces and host devices of an instance", show_all, _instance
    ),
    Subcommand(
        "attach-interface",
        "join an instance to a network of the host",
        attach_interface,
        _attached_interface,
    ),
    Subcommand("detach-interface", "take an interface out", detach_interface, _detached_interface),
    Subcommand(
        "attach-host-device",
        "give an instance a PCI, USB or mediated device of the host",
        attach_host_device,
        _attached_host_device,
    ),
    Subcommand(
        "detach-host-device", "take a host device out", detach_host_device, _detached_host_device
    ),
]
