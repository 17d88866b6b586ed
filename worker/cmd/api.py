"""blockworker api: the REST tier, and who may use it."""

import argparse
import sys

from worker import wiring
from worker.api.asked import Who
from worker.api.front.open_door import PROJECT
from worker.cmd import asking, options, serve
from worker.cmd.commands import Subcommand
from worker.cmd.output import print_json, print_rows, say

HELP = """Serve the REST API until SIGTERM or SIGINT, for workers that are reached over a
broker and share a database; any number of them may run. On one machine
`blockworker all-in-one` runs both."""

OF_TOKENS = """The tokens of callers, where [api] auth = token. Of one that is added only a hash is
kept, so that it is shown once: whoever reads the file later, or a backup of it, has
nobody's token. The API reads the file again when it changes."""


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command, which serves, and the ones within it."""
    api = commands.add_parser(
        "api",
        help="serve the REST API; its tokens",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[options.shared(), options.printing()],
    )
    api.set_defaults(run=serve_api)
    inner = api.add_subparsers(metavar="COMMAND")
    _add(inner, Subcommand("clouds", "print a clouds.yaml for the API", clouds, _clouds_options))
    _add(inner, Subcommand("openapi", "print the OpenAPI document of all requests", openapi))
    tokens = inner.add_parser(
        "token",
        help="add, list and remove tokens",
        description=OF_TOKENS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).add_subparsers(metavar="COMMAND", required=True)
    _add(tokens, Subcommand("add", "add a token, and print it once", add_token, _add_options))
    _add(tokens, Subcommand("list", "list for whom there are tokens", list_tokens))
    _add(tokens, Subcommand("remove", "remove a token", remove_token, _name_option))


def serve_api(arguments: argparse.Namespace) -> int:
    """Serve the API until SIGTERM or SIGINT."""
    return serve.run(arguments, wiring.Api)


def add_token(arguments: argparse.Namespace) -> int:
    """Add a token and print it: nobody can read it afterwards."""
    file = wiring.token_file(options.read(arguments))
    file.make()
    roles = frozenset(arguments.role or ("member", "reader"))
    who = Who(
        user_id=arguments.user_id or arguments.name, project_id=arguments.project_id, roles=roles
    )
    token = file.add(arguments.name, who)
    if arguments.json:
        print_json({"name": arguments.name, "token": token})
    else:
        print(token)
        say(f"{arguments.name}'s token, which is not shown again: {file.path} has its hash alone")
    return asking.DONE


def list_tokens(arguments: argparse.Namespace) -> int:
    """Print for whom there are tokens, and none of them."""
    rows = [line.public() for line in wiring.token_file(options.read(arguments)).lines()]
    fields = ("name", "project_id", "user_id", "roles", "readable")
    print_rows(rows, fields, as_json=arguments.json)
    return asking.DONE


def remove_token(arguments: argparse.Namespace) -> int:
    """Remove a token: who has it is refused from now on."""
    wiring.token_file(options.read(arguments)).remove(arguments.name)
    return asking.DONE


def clouds(arguments: argparse.Namespace) -> int:
    """Print a clouds.yaml with which `openstack --os-cloud blockworker` asks this API."""
    given = sys.stdin.readline().strip() if arguments.token_stdin else None
    print(wiring.clouds_yaml(options.read(arguments), given), end="")
    return asking.DONE


def openapi(_arguments: argparse.Namespace) -> int:
    """Print the OpenAPI document that the API serves at /openapi.json."""
    print_json(wiring.openapi())
    return asking.DONE


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", command: Subcommand
) -> None:
    parser = commands.add_parser(
        command.name,
        help=command.help,
        description=f"{command.help[0].upper()}{command.help[1:]}.",
        parents=[options.shared(again=True), options.printing(again=True)],
    )
    if command.options is not None:
        command.options(parser)
    parser.set_defaults(run=command.run)


def _name_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="the token's name")


def _add_options(parser: argparse.ArgumentParser) -> None:
    _name_option(parser)
    parser.add_argument(
        "--project-id",
        metavar="ID",
        default=PROJECT,
        help="the caller's project (default: the administrator's)",
    )
    parser.add_argument("--user-id", metavar="ID", help="who the caller is (default: NAME)")
    parser.add_argument(
        "--role",
        metavar="ROLE",
        action="append",
        help="what the caller may: admin, member, reader, service or one of the policy file; may"
        " be given again (default: member and reader)",
    )


def _clouds_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--token-stdin",
        action="store_true",
        help="read the token from stdin, for one of which the file has the hash alone",
    )
