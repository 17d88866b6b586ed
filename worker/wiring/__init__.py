"""Joins the core to the real world: the only room that names real adapters."""

from worker.wiring.core import Core, onlooker, read
from worker.wiring.holder import holder
from worker.wiring.service import Worker
from worker.wiring.settings import (
    PRIVATE,
    bus_settings,
    check_database_url,
    make_database,
    socket_path,
    unsafe_bus,
)

__all__ = [
    "PRIVATE",
    "Core",
    "Worker",
    "bus_settings",
    "check_database_url",
    "holder",
    "make_database",
    "onlooker",
    "read",
    "socket_path",
    "unsafe_bus",
]
