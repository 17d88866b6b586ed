"""What runs in the small guest: its modules, its init, and the archive that holds them."""

import gzip
import lzma
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# The guest's own look at its disks and interfaces, told on the console: at once when something
# changed, and each second in any case, so that silence means a dead guest. Only a change costs a
# fork; a guest that waits is to leave the host's cores to others. `diskseq` differs when a disk
# went and another took its name between two looks.
_INIT = r"""#!/bin/sh
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do
    insmod "/modules/$module"
done </modules/order
acpid -c /etc/acpi -l /dev/null -p /acpid.pid
# Which kernel this is: whoever wrote the line can tell the media apart.
read -r line </proc/cmdline
line=${line//[\\\"]/}

look() {
    seen=
    for disk in /sys/block/*; do
        name=${disk##*/} size= order=
        case $name in loop*|ram*|zram*|dm-*) continue ;; esac
        read -r size 2>/dev/null <"$disk/size" || continue
        read -r order 2>/dev/null <"$disk/diskseq"
        seen="$seen $name:$size:$order"
    done
    joined=
    for interface in /sys/class/net/*; do
        name=${interface##*/}
        [ "$name" = lo ] && continue
        read -r mac 2>/dev/null <"$interface/address" || continue
        joined="$joined $name=$mac"
    done
}

serial_of() {
    serial=
    if [ -e "$1/serial" ]; then
        read -r serial 2>/dev/null <"$1/serial"
    elif [ -e "$1/device/vpd_pg80" ]; then
        serial=$(tail -c +5 "$1/device/vpd_pg80" 2>/dev/null | tr -cd ' -~')
    fi
    serial=${serial//\\/} serial=${serial//\"/}
}

# What the device says of itself; a virtio disk has a number for a vendor, and no model.
maker_of() {
    vendor= model=
    read -r vendor 2>/dev/null <"$1/device/vendor"
    read -r model 2>/dev/null <"$1/device/model"
    vendor=${vendor//[\\\"]/} model=${model//[\\\"]/}
}

# Which bus it is on, and where: ends in 0000:01:00.0/virtio0, or in target0:0:0/0:0:0:3.
path_of() {
    path=
    cd -P "$1" 2>/dev/null && path=${PWD#/sys/devices/}
    cd /
    path=${path%%/block/*}
}

describe() {
    disks= comma=
    for entry in $seen; do
        name=${entry%%:*} size=${entry#*:}
        serial_of "/sys/block/$name"
        maker_of "/sys/block/$name"
        path_of "/sys/block/$name"
        said="\"serial\": \"$serial\", \"vendor\": \"$vendor\", \"model\": \"$model\""
        said="$said, \"path\": \"$path\""
        disks="$disks$comma\"$name\": {\"size\": $((${size%%:*} * 512)), $said}"
        comma=", "
    done
    interfaces= comma=
    for entry in $joined; do
        interfaces="$interfaces$comma\"${entry%%=*}\": \"${entry#*=}\""
        comma=", "
    done
    told="$seen$joined"
}

told=nothing sequence=0 rest=0
while :; do
    look
    if [ "$seen$joined" != "$told" ]; then
        describe
        rest=0
    fi
    if [ $rest -eq 0 ]; then
        read -r uptime idle </proc/uptime
        sequence=$((sequence + 1)) rest=10
        news="\"disks\": {$disks}, \"interfaces\": {$interfaces}, \"command_line\": \"$line\""
        echo "BLOCKWORKER-SEES {\"sequence\": $sequence, \"uptime\": $uptime, $news}"
    fi
    rest=$((rest - 1))
    sleep 0.1
done
"""

# What acpid runs when the host presses the power button.
_POWER_BUTTON = "#!/bin/sh\nexec /bin/poweroff -f\n"

_APPLETS = ("acpid", "insmod", "mount", "poweroff", "sh", "sleep", "tail", "tr")

_FOLDER = stat.S_IFDIR | 0o755
_PROGRAM = stat.S_IFREG | 0o755
_LINK = stat.S_IFLNK | 0o777


class ModuleMissing(Exception):
    """The kernel has no such module, or keeps it in a form that cannot be read here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    name: str
    mode: int
    data: bytes = b""


def make_initramfs(
    busybox: bytes, modules: Mapping[str, bytes], init: str = _INIT, applets: Iterable[str] = ()
) -> bytes:
    """The archive for a statically linked busybox and these modules, loaded in their order.

    ``init`` is the small guest's, or another that needs ``applets`` beside those.
    """
    folders = ("bin", "dev", "etc", "etc/acpi", "etc/acpi/PWRF", "modules", "proc", "sys")
    entries = [_Entry(name=name, mode=_FOLDER) for name in folders]
    entries.append(_Entry(name="bin/busybox", mode=_PROGRAM, data=busybox))
    entries += [
        _Entry(name=f"bin/{name}", mode=_LINK, data=b"busybox") for name in (*_APPLETS, *applets)
    ]
    entries += [
        _Entry(name=f"modules/{name}.ko", mode=_PROGRAM, data=data)
        for name, data in modules.items()
    ]
    order = "".join(f"{name}.ko\n" for name in modules)
    entries.append(_Entry(name="modules/order", mode=_PROGRAM, data=order.encode()))
    entries.append(
        _Entry(name="etc/acpi/PWRF/00000080", mode=_PROGRAM, data=_POWER_BUTTON.encode())
    )
    entries.append(_Entry(name="init", mode=_PROGRAM, data=init.encode()))
    # Not compressed: unpacking it would cost an emulated processor a tenth of a second.
    return _archive(entries)


def load_modules(folder: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """The wanted modules below ``folder`` and all they depend on, each after what it needs.

    A module that is part of the kernel itself is left out. The package carries no ``modules.dep``
    (that is made at installation), so each module is asked for what it depends on.
    """
    files = {_plain(path): path for path in folder.rglob("*.ko*")}
    builtin = {_plain(Path(line)) for line in _builtin(folder)}
    found: dict[str, bytes] = {}
    for name in wanted:
        _load(name, files, builtin, found)
    return found


def _load(name: str, files: Mapping[str, Path], builtin: set[str], found: dict[str, bytes]) -> None:
    if name in found or name in builtin:
        return
    if name not in files:
        raise ModuleMissing(f"this kernel has no module {name}")
    data = _read(files[name])
    for needed in _depends(data):
        _load(needed, files, builtin, found)
    found[name] = data


def _plain(path: Path) -> str:
    return path.name.partition(".ko")[0].replace("-", "_")


def _builtin(folder: Path) -> list[str]:
    return (folder / "modules.builtin").read_text(encoding="utf-8").splitlines()


def _read(path: Path) -> bytes:
    data = path.read_bytes()
    match path.suffix:
        case ".ko":
            return data
        case ".xz":
            return lzma.decompress(data)
        case ".gz":
            return gzip.decompress(data)
        case other:
            raise ModuleMissing(f"{path.name} is compressed in a way not known here: {other}")


def _depends(module: bytes) -> list[str]:
    found = re.search(rb"\0depends=([^\0]*)\0", module)
    names = found.group(1).decode() if found else ""
    return [name.replace("-", "_") for name in names.split(",") if name]


def _archive(entries: Iterable[_Entry]) -> bytes:
    # cpio's "newc", written here: so it needs neither root nor a tool, and is the same each time.
    last = _Entry(name="TRAILER!!!", mode=0)
    return b"".join(
        part
        for number, entry in enumerate((*entries, last), start=1)
        for part in _parts(number, entry)
    )


def _parts(number: int, entry: _Entry) -> Iterator[bytes]:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    owner, time, device = (0, 0), 0, (0, 0, 0, 0)
    fields = (number, entry.mode, *owner, links, time, len(entry.data), *device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields)
    for block in (head + name, entry.data):
        yield block + b"\0" * (-len(block) % 4)
