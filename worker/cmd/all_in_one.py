"""blockworker all-in-one: a usable service on one machine, by one command."""

import argparse
import sys

from worker import wiring
from worker.cmd import options, serve
from worker.cmd.commands import Subcommand, add_command

HELP = """Run the worker of this host and the REST API in one process, until SIGTERM or SIGINT.
Nothing else is needed: by default the database is SQLite, the bus is in the process, libvirtd is a
private one, volumes are files of a pool, and callers have a token of a file that is made at the
first start, all of it in the state folder. What was accepted outlives kill -9: start it again."""

EPILOG = """  blockworker --help                             all commands
  blockworker all-in-one --state-path ~/.blockworker
  (umask 077; blockworker api clouds --state-path ~/.blockworker > clouds.yaml)
  openstack --os-cloud blockworker volume create --size 1 data
docs/api.md has more."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    summary = "run worker and API in one process, on this machine alone"
    add_command(commands, Subcommand("all-in-one", summary, run, _options))


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    again = options.again(arguments)
    return serve.run(arguments, lambda conf: wiring.AllInOne(conf, _welcome, again))


def _welcome(text: str) -> None:
    print(text)
    sys.stdout.flush()


def _options(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = HELP, EPILOG
