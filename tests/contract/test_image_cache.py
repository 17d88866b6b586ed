"""This host's copies of images: fetched once, whole or not there, and kept while needed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.contract.evil_images import qcow2
from tests.contract.glance_server import Glance, served
from tests.contract.image_labs import HUGE, MIB, FolderLab, GlanceLab
from worker.errors import ImageRefused, ImagesUnavailable, NoRoom
from worker.image.bases import bases
from worker.image.cache import CachedImages, CacheSettings
from worker.image.folder import FolderImages
from worker.image.local_disks import FileLocalDisks
from worker.model.ids import BlockDeviceId, ImageId, InstanceId, new_uuid
from worker.model.specification import LocalDisk

CONTENT = os.urandom(4096) * (4 * MIB // 4096)
LONG_AGO = time.time() - 7 * 24 * 3600

FETCH = """
import sys
from pathlib import Path
from worker.image.cache import CachedImages, CacheSettings
from worker.image.glance import GlanceImages, GlanceSettings
url, folder, image = sys.argv[1:]
source = GlanceImages(GlanceSettings(endpoint=url, auth_type="none", auth={"endpoint": url}))
images = CachedImages(source, CacheSettings(folder=Path(folder)), lambda: ())
print(images.fetch(image).virtual_size)
"""


@pytest.fixture
def glance() -> Iterator[Glance]:
    with served() as found:
        yield found


@pytest.fixture
def lab(tmp_path: Path, glance: Glance) -> GlanceLab:
    return GlanceLab(tmp_path, glance)


@pytest.fixture
def folder(tmp_path: Path) -> FolderLab:
    return FolderLab(tmp_path)


def other_worker(lab: GlanceLab, image: ImageId) -> "subprocess.Popen[str]":
    command = [sys.executable, "-W", "ignore", "-c", FETCH, lab.glance.url, lab.cached, image]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # type: ignore[arg-type]


def copies(lab: GlanceLab | FolderLab) -> set[str]:
    return {path.name for path in lab.cached.iterdir() if path.is_file()}


def grow_old(lab: FolderLab, *images: ImageId) -> None:
    for age, image in enumerate(images):
        os.utime(lab.cached / image, (LONG_AGO + age, LONG_AGO + age))


def test_a_copy_is_not_fetched_twice(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    lab.images.fetch(image)
    lab.rebuild().fetch(image)
    assert lab.glance.downloads() == 1


def test_lanes_that_want_the_same_image_fetch_it_once(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    lab.glance.stalls = True
    with ThreadPoolExecutor(4) as lanes:
        waiting = [lanes.submit(lab.images.fetch, image) for _ in range(4)]
        assert lab.glance.half_sent.wait(60)
        assert not any(lane.done() for lane in waiting)
        lab.glance.go_on.set()
        assert len({lane.result().path for lane in waiting}) == 1
    assert lab.glance.downloads() == 1


def test_workers_that_share_a_folder_fetch_an_image_once(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    lab.glance.stalls = True
    workers = [other_worker(lab, image) for _ in range(2)]
    assert lab.glance.half_sent.wait(60)
    lab.glance.go_on.set()
    assert [worker.communicate()[0].strip() for worker in workers] == [str(len(CONTENT))] * 2
    assert lab.glance.downloads() == 1


def test_images_are_fetched_side_by_side(lab: GlanceLab) -> None:
    """One that takes for ever keeps no other waiting."""
    slow, other = lab.give(CONTENT), lab.give(CONTENT)
    lab.glance.stalls = True
    first = threading.Thread(target=lab.images.fetch, args=(slow,))
    first.start()
    assert lab.glance.half_sent.wait(60)
    lab.glance.stalls = False
    lab.images.fetch(other)
    lab.glance.go_on.set()
    first.join()
    assert {slow, other} <= copies(lab)


def test_a_worker_killed_in_mid_fetch_leaves_nothing_that_counts(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    lab.glance.stalls = True
    worker = other_worker(lab, image)
    assert lab.glance.half_sent.wait(60)
    while not copies(lab):
        time.sleep(0.01)
    worker.send_signal(signal.SIGKILL)
    worker.communicate()
    assert copies(lab) == {f".{image}.unfinished"}

    lab.glance.go_on.set()
    file = lab.images.fetch(image)
    assert Path(file.path).read_bytes() == CONTENT
    assert copies(lab) == {image, f".{image}.json"}


def test_a_download_that_breaks_off_is_an_outage_and_leaves_nothing(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    lab.glance.breaks_off = True
    with pytest.raises(ImagesUnavailable):
        lab.images.fetch(image)
    assert copies(lab) == set()


def test_more_bytes_than_promised_are_not_taken(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    lab.glance.images[image] |= {"size": MIB}
    with pytest.raises(ImageRefused, match="more bytes"):
        lab.images.fetch(image)
    assert copies(lab) == set()


def test_a_note_without_its_copy_counts_for_nothing(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    path = Path(lab.images.fetch(image).path)
    path.unlink()
    assert lab.images.fetch(image).path == str(path)
    assert lab.glance.downloads() == 2


@pytest.mark.parametrize("note", ["", "{}", "[]", '{"declared": "raw"}'])
def test_a_copy_whose_note_is_lost_is_fetched_anew(lab: GlanceLab, note: str) -> None:
    image = lab.give(CONTENT)
    lab.images.fetch(image)
    (lab.cached / f".{image}.json").write_text(note)
    lab.images.fetch(image)
    assert lab.glance.downloads() == 2


def test_a_damaged_copy_is_fetched_anew(lab: GlanceLab, tmp_path: Path) -> None:
    made = tmp_path / "made"
    qcow2(made)
    image = lab.give(made.read_bytes(), "qcow2")
    path = Path(lab.images.fetch(image).path)
    whole = path.read_bytes()
    another_size = whole[:24] + (2 * MIB).to_bytes(8, "big") + whole[32:]
    for damage in (whole[:-1], bytes(len(whole)), another_size):
        path.write_bytes(damage)
        lab.images.fetch(image)
        assert path.read_bytes() == made.read_bytes()


def test_a_copy_that_became_evil_is_not_used_while_the_service_is_away(
    lab: GlanceLab, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    qcow2(made)
    image = lab.give(made.read_bytes(), "qcow2")
    path = Path(lab.images.fetch(image).path)
    content = bytearray(path.read_bytes())
    content[15] = 1
    path.write_bytes(content)
    lab.go_away()
    with pytest.raises(ImagesUnavailable):
        lab.images.fetch(image)


def test_holes_stay_holes(folder: FolderLab) -> None:
    for middle in (b"odd", b"even".ljust(MIB, b"\0")):
        content = bytes(8 * MIB) + middle + bytes(8 * MIB)
        path = Path(folder.images.fetch(folder.give(content)).path)
        assert path.read_bytes() == content
        assert path.stat().st_blocks * 512 < MIB


class Endless(FolderImages):
    """Yields more than it promises; ``given`` counts the pieces."""

    given = 0

    def read(self, image: ImageId) -> Iterator[bytes]:
        for _ in range(64):
            self.given += 1
            yield from super().read(image)


def test_a_source_that_never_ends_does_not_fill_the_disk(folder: FolderLab) -> None:
    source = Endless(folder.folder)
    images = CachedImages(source, CacheSettings(folder=folder.cached), set)
    with pytest.raises(ImageRefused, match="more bytes"):
        images.fetch(folder.give(b"disk" * 512))
    assert source.given == 2


def test_new_content_under_an_old_id_is_refused_while_the_old_may_be_in_use(
    folder: FolderLab,
) -> None:
    image = folder.give(b"old" * 512)
    path = Path(folder.images.fetch(image).path)
    (folder.folder / image).write_bytes(b"new" * 512)
    folder.say(image, disk_format="raw")
    with pytest.raises(ImageRefused, match="an id of its own"):
        folder.images.fetch(image)
    assert path.read_bytes() == b"old" * 512
    grow_old(folder, image)
    folder.images.fetch(image)
    assert path.read_bytes() == b"new" * 512


def test_without_room_the_longest_unused_copies_go_and_needed_ones_stay(
    folder: FolderLab,
) -> None:
    old, older, needed, young = (folder.give(b"disk" * 512) for _ in range(4))
    for image in (old, older, needed, young):
        folder.images.fetch(image)
    grow_old(folder, older, old, needed)
    folder.needed.add(needed)
    another = folder.give(b"disk" * 512)
    with pytest.raises(NoRoom):
        folder.rebuild(reserve=HUGE).fetch(another)
    kept = {name for name in copies(folder) if not name.startswith(".")}
    assert kept == {needed, young}
    notes = {name for name in copies(folder) if name.startswith(".")}
    assert notes == {f".{needed}.json", f".{young}.json"}


def test_nothing_is_evicted_from_a_folder_that_another_worker_has_too(
    folder: FolderLab,
) -> None:
    image = folder.give(b"disk" * 512)
    folder.images.fetch(image)
    grow_old(folder, image)
    other = CachedImages(
        folder.source(), CacheSettings(folder=folder.cached, owner="../other/host"), set
    )
    other.fetch(folder.give(b"another" * 512))
    folder.rebuild().evict()
    assert image in copies(folder)
    next((folder.cached / "workers").glob("*other*")).unlink()
    folder.rebuild().evict()
    assert image not in copies(folder)


def test_no_more_is_evicted_than_it_takes(folder: FolderLab) -> None:
    old, older = (folder.give(b"disk" * 512) for _ in range(2))
    for image in (old, older):
        folder.images.fetch(image)
    grow_old(folder, older, old)
    folder.rebuild().evict(until=lambda: older not in copies(folder))
    assert old in copies(folder)


def test_a_copy_that_is_being_fetched_is_not_evicted(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    path = Path(lab.images.fetch(image).path)
    path.write_bytes(b"damaged")
    os.utime(path, (LONG_AGO, LONG_AGO))
    lab.glance.stalls = True
    fetching = threading.Thread(target=lab.images.fetch, args=(image,))
    fetching.start()
    assert lab.glance.half_sent.wait(60)
    lab.rebuild().evict()
    assert image in copies(lab)
    lab.glance.go_on.set()
    fetching.join()


def test_the_disks_themselves_say_over_which_copies_they_are_made(
    folder: FolderLab, tmp_path: Path
) -> None:
    disks = FileLocalDisks(tmp_path / "instances")
    image = folder.give(b"disk" * 512)
    instance, uuid = InstanceId(new_uuid()), BlockDeviceId(new_uuid())
    disk = LocalDisk(uuid=uuid, size=MIB, image=image)
    disks.create(instance, disk, folder.images.fetch(image))
    disks.create(instance, LocalDisk(uuid=BlockDeviceId(new_uuid()), size=MIB), None)
    (tmp_path / "instances" / instance / "console.log").write_text("QFI")
    assert bases(tmp_path / "instances") == {image}
    disks.delete(instance, uuid)
    assert bases(tmp_path / "instances") == set()
    assert bases(tmp_path / "nowhere") == set()


def test_the_digest_is_that_of_the_file(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    assert lab.images.fetch(image).digest == hashlib.sha256(CONTENT).hexdigest()


def test_a_copy_of_an_older_release_gets_its_digest_once_it_is_wanted(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    fetched = lab.images.fetch(image)
    note = lab.cached / f".{image}.json"
    noted = json.loads(note.read_text())
    note.write_text(json.dumps({name: noted[name] for name in noted if name != "digest"}))
    assert lab.images.copy(image) == fetched
    assert json.loads(note.read_text()) == noted


def test_a_copy_that_is_damaged_or_not_noted_is_none(lab: GlanceLab) -> None:
    image = lab.give(CONTENT)
    path = Path(lab.images.fetch(image).path)
    path.write_bytes(CONTENT[:-1])
    assert lab.images.copy(image) is None
    path.write_bytes(CONTENT)
    assert lab.images.copy(image) is not None
    (lab.cached / f".{image}.json").unlink()
    assert lab.images.copy(image) is None
