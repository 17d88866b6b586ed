"""What the private libvirtd is told: its mounts and its two configuration files."""

# As root libvirt's folders are fixed, so ours are mounted over them where only the daemon and its
# guests see it. "slave": what the host mounts later (an NFS volume) shows up for the guests too.
# The images of the host's own libvirt stay visible: people attach files from there.
MOUNTS = """
set -e
for place in /etc /run /var/lib /var/cache /var/log; do
    mkdir -p "$place/libvirt"
done
if [ -d /var/lib/libvirt/images ]; then
    mkdir -p "$1/lib/libvirt/images"
    mount --rbind /var/lib/libvirt/images "$1/lib/libvirt/images"
fi
mount --bind "$1/config/libvirt" /etc/libvirt
mount --bind "$1/run/libvirt" /run/libvirt
mount --rbind "$1/lib/libvirt" /var/lib/libvirt
mount --bind "$1/cache/libvirt" /var/cache/libvirt
mount --bind "$1/log/libvirt" /var/log/libvirt
shift
exec "$@"
"""

# QEMU writes its consoles and logs itself, so that no virtlogd is needed.
QEMU_CONF = 'stdio_handler = "file"\n'
QEMU_CONF_ROOT = """\
security_driver = "none"
user = "root"
group = "root"
remember_owner = 0
namespaces = []
cgroup_controllers = []
"""
LIBVIRTD_CONF = """\
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
unix_sock_admin_perms = "0700"
"""
