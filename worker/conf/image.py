"""[image]: images, and the files of this host that are made of them."""

from oslo_config import cfg

GROUP = "image"

OPTIONS = [
    cfg.StrOpt(
        "service",
        default="folder",
        choices=[
            ("folder", "a folder of this host: [image] folder"),
            ("glance", "Glance, by the options whose names begin with glance_"),
        ],
        help="Where images come from.",
    ),
    cfg.StrOpt(
        "folder",
        sample_default="<state_path>/images",
        help="Folder of images, for service = folder. An image is two files: <id>, its content,"
        " and <id>.json, what is said of it, in Glance's words: disk_format (raw, qcow2, iso, aki,"
        " ari) must be there; name, min_disk (GiB), min_ram (MiB), os_hash_algo and os_hash_value,"
        " and properties may be. Content never changes under an id. Links are not followed.",
    ),
    cfg.StrOpt(
        "cache_path",
        sample_default="<state_path>/image-cache",
        help="Folder of this host's copies of images. Disks are made copy-on-write over them, so"
        " never remove one by hand. Workers may share it; then none is ever removed.",
    ),
    cfg.FloatOpt(
        "cache_keep",
        default=24.0,
        min=1.0,
        help="Hours for which a copy that no disk and no instance needs any more is kept at"
        " least. It is removed when there is no room for another image, and not before.",
    ),
    cfg.StrOpt(
        "instances_path",
        sample_default="<state_path>/instances",
        help="Folder of local disks and config drives: a folder an instance, a file a disk. It is"
        " made with mode 0700. Where QEMU runs as another user, as under qemu:///system, make it"
        " and cache_path beforehand with mode 0711: folders below one with that mode are made"
        " like it, and files have mode 0600, their owner being libvirt's to set.",
    ),
    cfg.StrOpt(
        "local_disks",
        default="qcow2",
        choices=[
            ("qcow2", "copy-on-write over the image, made at once, growing as it is written"),
            ("raw", "a copy of the image, sparse; as fast as the filesystem"),
        ],
        help="How local disks of new instances are kept; those that exist stay as they are.",
    ),
    cfg.IntOpt(
        "reserve",
        default=1024,
        min=0,
        help="MiB that disks and images leave free: with less, a build fails with host.no_room.",
    ),
    cfg.StrOpt(
        "glance_cloud",
        help="Name of a cloud in openstacksdk's clouds.yaml, which then says all that the"
        " options below would say.",
    ),
    cfg.StrOpt(
        "glance_endpoint",
        help="Glance's URL, http://controller:9292 for instance; unset, it is taken from the"
        " catalogue of the identity service.",
    ),
    cfg.StrOpt(
        "glance_auth_type",
        default="password",
        choices=[
            ("password", "Keystone, by name and password"),
            ("token", "Keystone, by a token that is exchanged"),
            ("none", "no identity service: glance_endpoint answers everyone it trusts"),
        ],
        help="How the worker proves to Glance who it is.",
    ),
    cfg.StrOpt("glance_auth_url", help="Keystone's URL, http://controller:5000/v3 for instance."),
    cfg.StrOpt("glance_username", help="Name of the worker's user."),
    cfg.StrOpt("glance_password", secret=True, help="Password of the worker's user."),
    cfg.StrOpt("glance_token", secret=True, help="Token, for glance_auth_type = token."),
    cfg.StrOpt("glance_project_name", help="Project in which the user acts."),
    cfg.StrOpt("glance_user_domain_name", default="Default", help="Domain of the user."),
    cfg.StrOpt("glance_project_domain_name", default="Default", help="Domain of the project."),
    cfg.StrOpt("glance_region_name", help="Region whose endpoint is meant."),
    cfg.StrOpt("glance_cafile", help="Certificates by which servers are known; PEM."),
    cfg.FloatOpt(
        "glance_timeout",
        default=60.0,
        min=1.0,
        help="Seconds that Glance may take to answer, and to go on in a download.",
    ),
]
