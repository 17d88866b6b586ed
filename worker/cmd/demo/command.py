"""blockworker demo: the main job, on a real guest, in one command."""

import argparse
import logging
import os
import time
from pathlib import Path
from typing import Any

from worker.cmd import asking
from worker.cmd.commands import Subcommand, add_command
from worker.cmd.demo.guest import GuestSilent
from worker.cmd.demo.stage import GUEST, clear, configuration_file, set_up
from worker.cmd.demo.story import VIEWS, Story
from worker.cmd.output import print_json, say, table
from worker.errors import WorkerError

NAME = "demo"


def add(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    add_command(
        commands,
        Subcommand(
            NAME, "attach volumes to a small real guest and watch them come and go", demo, _options
        ),
    )


def demo(arguments: argparse.Namespace) -> int:
    """Play the demo; exit 0 if everything was as promised."""
    state = _state(arguments)
    if arguments.clean:
        clear(state)
        return asking.DONE
    logging.basicConfig(level=logging.INFO if arguments.verbose else logging.ERROR)
    begun = time.monotonic()
    try:
        with set_up(state, _progress(begun), keep=arguments.keep) as stage:
            story = Story(stage, _progress(begun))
            ok = story.play(arguments.volume)
    except GuestSilent as error:
        message = f"the guest did not answer: {error}"
        raise WorkerError(message) from error
    seconds = round(time.monotonic() - begun, 1)
    if arguments.json:
        print_json(_facts(story, ok=ok, seconds=seconds))
    else:
        _print(story, ok=ok, seconds=seconds)
        if arguments.keep:
            _how_to_go_on(state)
    return asking.DONE if ok else asking.FAILED


def _state(arguments: argparse.Namespace) -> Path:
    if arguments.state_path is not None:
        return Path(arguments.state_path).absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "blockworker" / "demo"


def _progress(begun: float) -> Any:  # noqa: ANN401 - a Say
    def tell(text: str) -> None:
        say(f"[{time.monotonic() - begun:5.1f} s] {text}")

    return tell


def _facts(story: Story, *, ok: bool, seconds: float) -> dict[str, Any]:
    return {
        "ok": ok,
        "seconds": seconds,
        "devices": [shown.facts() for shown in story.devices],
        "updates": [update["event_type"] for update in story.updates],
    }


def _print(story: Story, *, ok: bool, seconds: float) -> None:
    rows = [
        {
            "device": shown.row["device_name"],
            "bus": shown.row["disk_bus"],
            "serial": shown.row["serial"],
            **shown.views,
        }
        for shown in story.devices
    ]
    print("\nEach device as each view has it, after the first was detached:\n")
    print(table(rows, ("device", "bus", "serial", *VIEWS)))
    print("\nUpdates heard on the bus, in order:\n")
    told = [
        {
            "sequence": update["payload"]["sequence"],
            "event": update["event_type"],
            "device": (update["payload"]["block_device"] or {}).get("device_name"),
        }
        for update in story.updates
    ]
    print(table(told, ("sequence", "event", "device")))
    print(f"\n{'All views agree' if ok else 'THE VIEWS DO NOT AGREE'} after {seconds} s.")


def _how_to_go_on(state: Path) -> None:
    file = configuration_file(state)
    print(
        f"""
The guest {GUEST} still runs. To go on with it:
  blockworker serve --config-file {file} &
  blockworker instance list --config-file {file}
  blockworker volume create more --size 64M --config-file {file}
or, with the API beside it:
  blockworker all-in-one --config-file {file}
To end it:
  blockworker demo --clean --state-path {state}"""
    )


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--volume",
        metavar="FILE",
        type=Path,
        help="attach this raw image as the first volume, in place, instead of an empty one",
    )
    parser.add_argument("--keep", action="store_true", help="leave the guest running at the end")
    parser.add_argument(
        "--clean", action="store_true", help="only end what an earlier --keep left running"
    )
    parser.add_argument("--verbose", action="store_true", help="show the worker's own log")
