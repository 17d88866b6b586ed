"""[volume]: the volume service and this host's side of the storage network."""

from oslo_config import cfg

GROUP = "volume"

OPTIONS = [
    cfg.StrOpt(
        "pool_path",
        sample_default="<state_path>/volumes",
        help="Folder in which the built-in pool keeps the volumes that it makes.",
    ),
    cfg.StrOpt(
        "lock_path",
        sample_default="<state_path>/locks",
        help="Folder of os-brick's locks; share it with cinder-volume on the same host.",
    ),
    cfg.StrOpt(
        "my_ip",
        default="127.0.0.1",
        help="Address of this host on the storage network, as volume services are told.",
    ),
    cfg.BoolOpt("multipath", default=False, help="Connect volumes by all their paths."),
    cfg.BoolOpt(
        "enforce_multipath",
        default=False,
        help="Refuse to connect when multipath is on and multipathd is not running.",
    ),
]
