"""The operations that the worker names itself: its own, and those that its decisions look at."""

from enum import StrEnum


class Method(StrEnum):
    """A name of the table of methods; that table has many more."""

    COMPLETE_ADOPTION = "complete_adoption"
    DETACH_HOST_DEVICE = "detach_host_device"
    DETACH_INTERFACE = "detach_interface"
    DETACH_VOLUME = "detach_volume"
    MIGRATE_ALIASES = "migrate_aliases"
    RELEASE_LAPSED_RESERVATION = "release_lapsed_reservation"
    REPAIR_DRIFT = "repair_drift"
    RETURN_VOLUME = "return_volume"
    SYNC_POWER_STATE = "sync_power_state"
    UNRESCUE_INSTANCE = "unrescue_instance"
