"""oslo.config options, one file per group; a new option is a line in its group's file."""

from collections.abc import Iterable
from pathlib import Path

from oslo_config import cfg
from oslo_log import _options as log_options
from oslo_log import log

from worker.conf import api, base, bus, cinder, database, health, hypervisor, image, policy, volume

GROUPS = (api, base, bus, cinder, database, health, hypervisor, image, policy, volume)

OF_OTHERS = frozenset(
    {"key_manager", "barbican", "barbican_service_user", "vault", "keystone_authtoken", "cache"}
)
"""Groups that castellan and keystonemiddleware read: they are extras, so what they know cannot be
asked."""


def list_opts() -> list[tuple[str | None, list[cfg.Opt]]]:
    """Return every group with its options, as oslo-config-generator wants them."""
    return [(group.GROUP, group.OPTIONS) for group in GROUPS]


def load(files: Iterable[Path] = (), **overrides: object) -> cfg.ConfigOpts:
    """Read the files, later ones first in rank; ``overrides`` (``group__option``) beat them.

    Raises oslo.config's errors for files that cannot be read and values that do not fit.
    """
    conf = cfg.ConfigOpts()
    for group, options in list_opts():
        conf.register_opts(options, group=group)
    log.register_options(conf)
    conf(args=[], project="blockworker", default_config_files=[str(file) for file in files])
    for name, value in overrides.items():
        group, _, option = name.rpartition("__")
        conf.set_override(option, value, group=group or None)
    _check(conf)
    return conf


def _check(conf: cfg.ConfigOpts) -> None:
    """Read every value once, so that one that does not fit is found at start and not later."""
    for group, options in list_opts():
        for option in options:
            (conf if group is None else conf[group])[option.dest]


def unknown_options(files: Iterable[Path]) -> list[str]:
    """Return ``[group] option`` for each line of the files that no option answers to."""
    every = [*list_opts(), *log_options.list_opts()]
    known = {(group or "DEFAULT", option.dest) for group, options in every for option in options}
    found = []
    for file in files:
        sections: dict[str, dict[str, list[str]]] = {}
        cfg.ConfigParser(str(file), sections).parse()
        found += [
            f"{file}: [{section}] {name}"
            for section, options in sections.items()
            for name in options
            if (section, name.replace("-", "_")) not in known and section not in OF_OTHERS
        ]
    return found
