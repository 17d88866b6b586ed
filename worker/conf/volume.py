"""[volume]: the volume service and this host's side of the storage network."""

from oslo_config import cfg

GROUP = "volume"

MOUNTED = ("nfs", "smbfs", "glusterfs", "quobyte")
"""The remote file systems whose mounts take options, by the names that OpenStack has for them."""

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
        "pool_protocol",
        default="local",
        choices=[
            ("local", "by their path: for guests of this host"),
            ("iscsi", "as LUNs of a tgtd (package tgt), which asks for a password (CHAP)"),
        ],
        help="How the built-in pool's volumes are reached. Change it while none is attached.",
    ),
    cfg.StrOpt(
        "pool_portal",
        regex=r"^(\[[\da-fA-F:.]+\]|[\w.-]+):\d{1,5}$",
        sample_default="127.0.0.1:<a free port from 3260 on, kept>",
        help="Where the pool's tgtd listens, for pool_protocol = iscsi. Change it while none of the"
        " pool's volumes is attached.",
    ),
    cfg.StrOpt(
        "pool_iqn_prefix",
        default="iqn.2010-10.org.openstack:",
        regex=r"^iqn\.[\w.:-]+$",
        help="What the names of the pool's targets begin with; volume-<id> follows.",
    ),
    cfg.StrOpt(
        "pool_tgt_socket",
        help="Management socket of a tgtd that others start and stop, as"
        " /var/run/tgtd/socket.0: $TGT_IPC_SOCKET, a dot and the control port. pool_portal has to"
        " say where it listens. Without it the worker starts a tgtd of its own.",
    ),
    cfg.StrOpt(
        "lock_path",
        sample_default="<state_path>/locks",
        help="Folder of os-brick's locks; share it with cinder-volume on the same host.",
    ),
    cfg.StrOpt(
        "keys",
        default="files",
        choices=[
            ("files", "in keys_path, a file for each"),
            ("castellan", "with a key manager, as [key_manager], [barbican] and [vault] say"),
        ],
        help="Where the passphrases of encrypted volumes are. castellan is an extra:"
        " pip install 'blockworker[keys]'.",
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
        default="kernel",
        choices=[
            ("kernel", "the host's own, by os-brick, iscsid and the kernel's modules"),
            ("host", "an older word for kernel"),
            ("qemu", "QEMU's: the host has no device of the volume, and needs no kernel module"),
        ],
        help="Who logs in to iSCSI targets. Change it while no volume is attached over iscsi. QEMU"
        " needs its block driver for iSCSI (package qemu-block-extra), and takes one path.",
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
        help="Ceph's user, without the client., where the volume service names none. Unset, and"
        " none named, nobody logs in.",
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
    cfg.StrOpt(
        "root_helper",
        default="",
        help="Command that starts os-brick's privileged helper (privsep-helper), such as sudo -n,"
        " for a worker that is not root; it must not ask for a password. Empty: os-brick's tools"
        " run with the worker's own rights.",
    ),
    cfg.IntOpt(
        "device_scan_attempts",
        default=5,
        min=1,
        help="How often os-brick looks for the device of a volume that it has logged in to.",
    ),
    cfg.IntOpt(
        "connect_attempts",
        default=3,
        min=1,
        help="How often a connect is tried whose tool or discovery failed, with growing pauses.",
    ),
    cfg.StrOpt(
        "iscsi_transport",
        default="default",
        help="Interface of open-iscsi (iscsiadm -m iface) by which targets are logged in to.",
    ),
    cfg.StrOpt(
        "mount_path",
        sample_default="<state_path>/mnt",
        help="Folder below which remote file systems are mounted (nfs, smbfs, glusterfs, quobyte,"
        " vzstorage). It is not Cinder's own.",
    ),
    *(
        cfg.StrOpt(
            f"{kind}_mount_options",
            default="",
            help=f"What {kind} file systems are mounted with (mount -o).",
        )
        for kind in MOUNTED
    ),
    cfg.DictOpt(
        "disk_cachemodes",
        default={},
        help="Cache modes of QEMU by what a disk's source is: block, file, network; such as"
        " file:writethrough. They take the place of what the protocol asks for; a volume of several"
        " guests is never cached.",
    ),
]
