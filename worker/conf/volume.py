"""[volume]: the volume service and this host's side of the storage network."""

from oslo_config import cfg

GROUP = "volume"

OPTIONS = [
    cfg.StrOpt(
        "service",
        default="pool",
        choices=[
            ("pool", "the built-in pool: files of this host"),
            ("cinder", "Cinder, by the options of [cinder]"),
        ],
        help="Whose volumes are attached. Change it while no volume is attached.",
    ),
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
        "keys_path",
        sample_default="<state_path>/keys",
        help="Folder of the passphrases of encrypted volumes, each in a file (mode 0600) named by"
        " its key's id, or the volume's if that has none.",
    ),
    cfg.StrOpt(
        "my_ip",
        default="127.0.0.1",
        help="Address of this host on the storage network, as volume services are told.",
    ),
    cfg.StrOpt(
        "iscsi_initiator",
        default="host",
        choices=[
            ("host", "the host's own, by os-brick; it does not speak iscsi in this release"),
            ("qemu", "QEMU's: the host has no device of the volume, and needs no kernel module"),
        ],
        help="Who logs in to iSCSI targets. Change it while no volume is attached over iscsi. QEMU"
        " needs its block driver for iSCSI (package qemu-block-extra), takes one path, and no"
        " CHAP in this release.",
    ),
    cfg.StrOpt(
        "iscsi_initiator_name",
        regex=r"(iqn|eui|naa)\.[\w.:-]+$",
        sample_default="iqn.2008-11.org.linux-kvm:<host>",
        help="Name by which targets know the guests of this host, for iscsi_initiator = qemu.",
    ),
    cfg.StrOpt(
        "rbd_user",
        regex=r"[\w.+-]+$",
        help="Ceph's user, without the client., where the volume service names none. Unset, and none"
        " named, nobody logs in.",
    ),
    cfg.StrOpt(
        "rbd_keyring",
        sample_default="<what /etc/ceph/<cluster>.conf says, or else Ceph's own places>",
        help="File with the keys of Ceph's users, for volume services that send none along.",
    ),
    cfg.BoolOpt("multipath", default=False, help="Connect volumes by all their paths."),
    cfg.BoolOpt(
        "enforce_multipath",
        default=False,
        help="Refuse to connect when multipath is on and multipathd is not running.",
    ),
]
