"""blockworker instance start, stop and reboot."""

import argparse
from typing import Any

from worker.cmd import asking
from worker.cmd.output import print_fields


def start(arguments: argparse.Namespace) -> int:
    """Start the instance and wait until its guest runs."""
    return _carry_out(arguments, "start_instance")


def stop(arguments: argparse.Namespace) -> int:
    """Stop the instance and wait until its guest is off."""
    clean = not arguments.hard
    return _carry_out(arguments, "stop_instance", clean_shutdown=clean, timeout=arguments.timeout)


def reboot(arguments: argparse.Namespace) -> int:
    """Reboot the instance and wait until its guest runs anew."""
    return _carry_out(arguments, "reboot_instance", hard=arguments.hard)


def stop_options(parser: argparse.ArgumentParser) -> None:
    """Add what a stop can be told."""
    _instance_and_hard(parser)
    parser.add_argument(
        "--timeout",
        type=int,
        metavar="SECONDS",
        help="how long the guest may take (default: shutdown_timeout)",
    )


def reboot_options(parser: argparse.ArgumentParser) -> None:
    """Add what a reboot can be told."""
    _instance_and_hard(parser)


def _instance_and_hard(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")
    parser.add_argument(
        "--hard", action="store_true", help="cut the guest's power, do not ask it to power off"
    )


def _carry_out(arguments: argparse.Namespace, method: str, **more: Any) -> int:  # noqa: ANN401
    done = asking.carry_out(arguments, method, instance_uuid=arguments.instance, **more)
    if arguments.json:
        print_fields(done, as_json=True)
    return asking.DONE
