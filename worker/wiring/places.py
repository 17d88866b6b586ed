"""Where things of a worker lie: cheap to load, for commands that only ask."""

from pathlib import Path

from oslo_config import cfg

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Where the kernel says which boot this is."""


def socket_path(conf: cfg.ConfigOpts) -> Path:
    """Return where the worker of this state folder listens for commands."""
    return Path(conf.state_path) / "control.sock"
