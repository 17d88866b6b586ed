"""Where things of a worker lie: cheap to load, for commands that only ask."""

from pathlib import Path

from oslo_config import cfg


def socket_path(conf: cfg.ConfigOpts) -> Path:
    """Return where the worker of this state folder listens for commands."""
    return Path(conf.state_path) / "control.sock"
