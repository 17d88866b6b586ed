"""blockworker call, blockworker cast: play the API tier, over the bus."""

import argparse
import json
from typing import Any

from worker import wiring
from worker.cmd import asking, options
from worker.cmd.commands import Subcommand, add_command
from worker.cmd.output import print_fields, print_json
from worker.errors import RequestMalformed
from worker.rpc.client import Client


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands."""
    for name, help_, run in (
        ("call", "call a method over the bus and print its answer", call),
        ("cast", "send an operation over the bus and print its id", cast),
    ):
        add_command(commands, Subcommand(name, help_, run, _words))


def call(arguments: argparse.Namespace) -> int:
    """Call and print the answer."""
    with _client(arguments) as client:
        print_json(client.call(arguments.host, arguments.method, **parse(arguments.arguments)))
    return asking.DONE


def cast(arguments: argparse.Namespace) -> int:
    """Send and print the operation's id."""
    with _client(arguments) as client:
        sent = client.cast(arguments.host, arguments.method, **parse(arguments.arguments))
    print_fields({"operation_id": sent}, as_json=arguments.json)
    return asking.DONE


def parse(words: list[str]) -> dict[str, Any]:
    """Read ``name=value`` words; a value that is JSON is taken as such, any other as text."""
    found = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            message = f"argument {word!r} is malformed; name=value is meant"
            raise RequestMalformed(message)
        found[name] = _value(value)
    return found


def _value(text: str) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text)
    except ValueError:
        return text


def _client(arguments: argparse.Namespace) -> Client:
    conf = options.read(arguments)
    settings = wiring.bus_settings(conf)
    return Client(settings.url, quorum=settings.quorum)


def _words(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("host", help="the worker's host")
    parser.add_argument("method", help="a method of docs/bus.md")
    parser.add_argument("arguments", nargs="*", metavar="NAME=VALUE", help="its arguments")
