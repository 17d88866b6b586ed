"""blockworker config: what the worker is told."""

import argparse
import sys

from oslo_config import cfg, generator

from worker import conf as all_options
from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_commands
from worker.cmd.output import print_json, print_rows

HIDDEN = "(secret)"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_commands(
        commands,
        "config",
        "the configuration",
        [
            Subcommand("show", "show every option as the worker reads it", show),
            Subcommand("check", "find unknown options and values that do not fit", check),
            Subcommand("sample", "print a sample configuration file", sample),
        ],
    )


def show(arguments: argparse.Namespace) -> int:
    """Print every option of ours with its value, secrets hidden."""
    conf = options.read(arguments)
    rows = [
        {"group": group or "DEFAULT", "option": option.dest, "value": _value(conf, group, option)}
        for group, found in all_options.list_opts()
        for option in found
    ]
    print_rows(rows, ("group", "option", "value"), as_json=arguments.json)
    return asking.DONE


def check(arguments: argparse.Namespace) -> int:
    """Exit 0 if the files are right, 3 if an option is unknown, 1 if a URL cannot be used."""
    conf_files = options.files(arguments)
    conf = all_options.load(conf_files)
    wiring.bus_settings(conf)
    wiring.check_database_url(conf)
    unknown = all_options.unknown_options(conf_files)
    if arguments.json:
        print_json({"files": [str(file) for file in conf_files], "unknown": unknown})
    else:
        for line in unknown:
            print(f"unknown option: {line}")
        if not unknown:
            print(f"no fault found in {', '.join(map(str, conf_files)) or 'the defaults'}")
    return asking.FOUND if unknown else asking.DONE


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
