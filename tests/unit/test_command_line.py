"""A command loads what it needs and no more, and every command is found."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import pytest

from worker import cmd
from worker.cmd.instance_aliases import EPILOG, NOT_BORNE
from worker.cmd.main import MODULES, parser

HEAVY = {"sqlalchemy", "alembic", "kombu.messaging", "libvirt", "lxml", "os_brick", "openstack"}
ASKING = [
    name for name, module in MODULES.items() if module in ("device", "drain", "drift", "operation")
]


def commands_of(words: list[str]) -> list[str]:
    lines = parser(words).format_help().splitlines()
    return [line.split()[0] for line in lines if line.startswith("    ") and line[4] != " "]


def test_without_a_command_all_are_offered() -> None:
    assert commands_of([]) == list(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_each_command_is_in_the_module_named_for_it(name: str) -> None:
    assert name in commands_of([name])


def test_help_and_docs_say_for_what_migrate_aliases_exits_3() -> None:
    docs = (Path(__file__).parents[2] / "docs" / "blockworker.md").read_text()
    (said,) = [line for line in docs.splitlines() if "or why it was skipped." in line]
    for text in (EPILOG.partition(" 3 ")[2], said.partition("Exits 3")[2]):
        assert [result for result in NOT_BORNE if result not in text] == []


def test_no_module_with_a_command_is_forgotten() -> None:
    names = [found.name for found in walk_packages(cmd.__path__, "worker.cmd.")]
    own = {name for name in names if name.count(".") > 1 and has_command(name)}
    assert own == {f"worker.cmd.{module}" for module in MODULES.values()}


def has_command(name: str) -> bool:
    added = getattr(import_module(name), "add", None)
    return added is not None and added.__module__ == name


@pytest.mark.parametrize("name", ASKING)
def test_what_only_asks_the_worker_loads_no_adapter(name: str) -> None:
    script = (
        "import sys; from worker.cmd.main import parser;"
        f"parser([{name!r}]); print(*{HEAVY!r} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
