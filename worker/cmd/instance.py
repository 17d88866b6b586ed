"""blockworker instance: the guests in this worker's care."""

import argparse

from worker.cmd import asking
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.instance_aliases import (
    export_xml,
    export_xml_options,
    migrate_aliases,
    migrate_options,
)
from worker.cmd.instance_build import build, build_options
from worker.cmd.instance_moves import (
    adopt,
    adopt_options,
    bring_in,
    export,
    export_options,
    forget,
    import_options,
)
from worker.cmd.instance_power import reboot, reboot_options, start, stop, stop_options
from worker.cmd.instance_rescue import rescue, rescue_options, unrescue, unrescue_options
from worker.cmd.output import print_fields, print_rows

COLUMNS = ("uuid", "name", "vm_state", "task_state")
METADATA_COLUMNS = ("tags", "type", "bus", "address", "serial", "path")


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    subcommands = [*_looks(), *_life(), *_moves()]
    add_commands(commands, "instance", "the instances in this worker's care", subcommands)


def _looks() -> list[Subcommand]:
    found = "show tagged disks as the guest finds them"
    return [
        Subcommand("list", "list the instances of this host", show_all),
        Subcommand("show", "show one instance", show, _instance),
        Subcommand("metadata", found, metadata, _instance),
    ]


def _life() -> list[Subcommand]:
    gone = "take an instance away for good, its local disks too"
    kept = "boot from a rescue image, its disks kept"
    back = "end a rescue, back to what was before"
    return [
        Subcommand("build", "build an instance and start it", build, build_options),
        Subcommand("start", "start an instance, its volumes connected anew", start, _instance),
        Subcommand("stop", "stop an instance, cleanly if it will", stop, stop_options),
        Subcommand("reboot", "stop an instance and start it anew", reboot, reboot_options),
        Subcommand("rescue", kept, rescue, rescue_options),
        Subcommand("unrescue", back, unrescue, unrescue_options),
        Subcommand("destroy", gone, destroy, _instance),
    ]


def _moves() -> list[Subcommand]:
    taken = "take a libvirt domain into care; its disks are marked for the next start"
    named = "give devices of older guests the aliases by which they are found"
    return [
        Subcommand("adopt", taken, adopt, adopt_options),
        Subcommand("forget", "let an adopted instance go as it came", forget, _instance),
        Subcommand("export", "print what another host needs to have it", export, export_options),
        Subcommand("import", "take in what another host exported", bring_in, import_options),
        Subcommand("migrate-aliases", named, migrate_aliases, migrate_options),
        Subcommand("export-xml", "print what libvirt keeps of it", export_xml, export_xml_options),
    ]


def show_all(arguments: argparse.Namespace) -> int:
    """List the instances."""
    print_rows(asking.read(arguments, "list_instances"), COLUMNS, as_json=arguments.json)
    return asking.DONE


def show(arguments: argparse.Namespace) -> int:
    """Show one instance."""
    row = asking.read(arguments, "get_instance", instance_uuid=arguments.instance)
    print_fields(row, as_json=arguments.json)
    return asking.DONE


def metadata(arguments: argparse.Namespace) -> int:
    """Show how a user inside the guest finds each tagged disk."""
    found = asking.read(arguments, "get_device_metadata", instance_uuid=arguments.instance)
    print_rows(found, METADATA_COLUMNS, as_json=arguments.json)
    return asking.DONE


def destroy(arguments: argparse.Namespace) -> int:
    """Destroy the instance; files of one that was adopted stay."""
    done = asking.carry_out(arguments, "destroy_instance", instance_uuid=arguments.instance)
    if arguments.json:
        print_fields(done, as_json=True)
    return asking.DONE


def _instance(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("instance", metavar="INSTANCE", help="the instance's uuid")
