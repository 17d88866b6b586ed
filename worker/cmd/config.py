"""blockworker config: what the worker is told."""

import argparse
import sys
from dataclasses import asdict

from oslo_config import cfg, generator

from worker import conf as all_options
from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_json, print_rows
from worker.rpc.safety import Unsafe

HIDDEN = "(secret)"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "config",
        "the configuration",
        [
            Subcommand("show", "show every option as the worker reads it", show),
            Subcommand("check", "find what is wrong, and what is unsafe", check, _check_options),
            Subcommand("sample", "print a sample configuration file", sample),
        ],
    )


def show(arguments: argparse.Namespace) -> int:
    """Print every option of ours: its value, secrets hidden, and whether SIGHUP changes it."""
    conf = options.read(arguments)
    rows = [
        {
            "group": group or "DEFAULT",
            "option": option.dest,
            "value": _value(conf, group, option),
            "reload": option.mutable,
        }
        for group, found in all_options.list_opts()
        for option in found
    ]
    print_rows(rows, ("group", "option", "value", "reload"), as_json=arguments.json)
    return asking.DONE


def check(arguments: argparse.Namespace) -> int:
    """Exit 0 if all is right, 3 for things unknown or unsafe, 1 for unusable URLs or folders."""
    conf_files = options.files(arguments)
    conf = all_options.load(conf_files)
    settings = wiring.bus_settings(conf)
    wiring.check_database_url(conf)
    wiring.check_images(conf)
    wiring.check_volumes(conf)
    wiring.check_api(conf)
    unknown = all_options.unknown_options(conf_files)
    unsafe = wiring.unsafe_bus(settings, ask_broker=arguments.connect)
    if arguments.json:
        found = {"unknown": unknown, "unsafe": [asdict(each) for each in unsafe]}
        print_json({"files": [str(file) for file in conf_files], **found})
    else:
        lines = [f"unknown option: {line}" for line in unknown] + [_said(each) for each in unsafe]
        nothing = f"no fault found in {', '.join(map(str, conf_files)) or 'the defaults'}"
        print("\n".join(lines) or nothing)
    return asking.FOUND if unknown or unsafe else asking.DONE


def _said(unsafe: Unsafe) -> str:
    return f"unsafe: {unsafe.what}\n  why: {unsafe.why}\n  do: {unsafe.do}"


def _check_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--connect",
        action="store_true",
        help="ask the broker as well how its queue and exchange were made; changes nothing there",
    )


def sample(_arguments: argparse.Namespace) -> int:
    """Print every option with its help and its default."""
    conf = cfg.ConfigOpts()
    generator.register_cli_opts(conf)
    conf(["--namespace", "blockworker", "--namespace", "oslo.log"])
    generator.generate(conf, output_file=sys.stdout)
    return asking.DONE


def _value(conf: cfg.ConfigOpts, group: str | None, option: cfg.Opt) -> object:
    value = (conf if group is None else conf[group])[option.dest]
    return HIDDEN if option.secret and value is not None else value
