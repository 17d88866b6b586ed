"""The database as an API tier reads it: of every host, and of whichever project.

Reads alone, each in a transaction of its own. What a caller may see is not decided here.
"""

from worker.persistence.fleet.reading import Fleet
from worker.persistence.fleet.seen import (
    Doing,
    FleetUpdate,
    Host,
    Key,
    Mark,
    Server,
    Told,
    Wanted,
    WantedOperations,
)
from worker.persistence.fleet.updates import FleetUpdates

__all__ = [
    "Doing",
    "Fleet",
    "FleetUpdate",
    "FleetUpdates",
    "Host",
    "Key",
    "Mark",
    "Server",
    "Told",
    "Wanted",
    "WantedOperations",
]
