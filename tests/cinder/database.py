"""Cinder's database: a file of SQLite that several processes write at once."""

import shutil
import sqlite3
from pathlib import Path

URL = "sqlite:///{folder}/cinder.sqlite?timeout=60"
FIRST = "python"

_IMMEDIATE = '''\
"""SQLite refuses at once who has read, and writes when another has written since.

Who says at its beginning that it will write waits instead.
"""

import functools
from sqlite3 import dbapi2


class Cursor(dbapi2.Cursor):
    def execute(self, statement, *parameters):
        return super().execute(
            "BEGIN IMMEDIATE" if statement == "BEGIN" else statement, *parameters
        )


class Connection(dbapi2.Connection):
    def cursor(self, factory=Cursor):
        return super().cursor(factory)


dbapi2.connect = functools.partial(dbapi2.connect, factory=Connection)
'''


def make_database(folder: Path, empty: Path) -> None:
    """Make the database at ``URL``, and in ``FIRST`` what Cinder's Python is to load first."""
    place = folder / "cinder.sqlite"
    shutil.copy(empty, place)
    database = sqlite3.connect(place)
    # Who reads does not keep others from writing.
    database.execute("PRAGMA journal_mode = WAL")
    database.close()
    (folder / FIRST).mkdir()
    (folder / FIRST / "sitecustomize.py").write_text(_IMMEDIATE)
