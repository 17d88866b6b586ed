"""Joins the core to the real world: the only room that names real adapters.

What needs them is loaded when it is first used: a command that asks the running worker through its
socket would else wait a second for SQLAlchemy, libvirt and os-brick, and use none of them.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from worker.wiring.holder import holder
from worker.wiring.places import socket_path

if TYPE_CHECKING:
    from worker.wiring.all_in_one import AllInOne
    from worker.wiring.api import Api
    from worker.wiring.api_front import check_api, token_file
    from worker.wiring.clouds import clouds_yaml
    from worker.wiring.core import Core, onlooker, read
    from worker.wiring.described import openapi
    from worker.wiring.images import check_images
    from worker.wiring.service import Worker
    from worker.wiring.settings import (
        PRIVATE,
        bus_settings,
        check_database_url,
        make_database,
        unsafe_bus,
    )
    from worker.wiring.volumes import check_volumes
else:
    _HOMES = {
        "AllInOne": "all_in_one",
        "Api": "api",
        "check_api": "api_front",
        "clouds_yaml": "clouds",
        "token_file": "api_front",
        "Core": "core",
        "onlooker": "core",
        "read": "core",
        "openapi": "described",
        "Worker": "service",
        "PRIVATE": "settings",
        "bus_settings": "settings",
        "check_database_url": "settings",
        "check_images": "images",
        "check_volumes": "volumes",
        "make_database": "settings",
        "unsafe_bus": "settings",
    }

    def __getattr__(name: str) -> object:
        """Return what was not loaded yet."""
        if name not in _HOMES:
            message = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(message)
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


__all__ = [
    "PRIVATE",
    "AllInOne",
    "Api",
    "Core",
    "Worker",
    "bus_settings",
    "check_api",
    "check_database_url",
    "check_images",
    "check_volumes",
    "clouds_yaml",
    "holder",
    "make_database",
    "onlooker",
    "openapi",
    "read",
    "socket_path",
    "token_file",
    "unsafe_bus",
]
