"""What stands in words of a failure for whom."""

import pytest

from worker.api.asked import UNASKED, Who
from worker.api.unplaced import fit_for

ADMIN = Who(user_id="a", project_id="p", roles=frozenset({"admin"}))
MEMBER = Who(user_id="m", project_id="p", roles=frozenset({"member"}))


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("no image a: /srv/i/a.json is not there", "no image a: # is not there"),
        (
            "/srv/images, the folder of images, is not there",
            "#, the folder of images, is not there",
        ),
        (
            "Could not open '/var/lib/my disks/d': Permission denied",
            "Could not open #: Permission denied",
        ),
        ('json:{"driver":"raw","filename":"/var/a b"}', 'json:{"driver":"raw","filename":#}'),
        ("run: chmod 600 /etc/keys/k.", "run: chmod 600 #."),
        (
            "none of /dev/dm-1, /dev/disk/by-path/ip-10.0.0.1:3260-lun-1 answers",
            "none of #, # answers",
        ),
        ("(/run/x.sock) and [/run/y] and <file=/run/z>", "(#) and [#] and <file=#>"),
        ("file:///srv/a, unix:///run/b; nfs.example:/export", "#, #; nfs.example:#"),
        ("cannot stat /proc/self/fd/3", "cannot stat #"),
        ("/.hidden", "#"),
    ],
)
def test_no_path_of_a_host_is_left(said: str, read: str) -> None:
    expected = read.replace("#", "(a path of the host)")
    assert fit_for(MEMBER, said) == fit_for(UNASKED, said) == expected
    assert fit_for(ADMIN, said) == said


@pytest.mark.parametrize(
    "said",
    [
        "device /dev/vdb is taken; /dev/sdaa is free, '/dev/xvda' too.",
        "volumes are Cinder's, at http://cinder.example:8776/v3/volumes; ask there",
        "no address in 10.0.0.0/24 and fd00::/8",
        "read/write, and/or 1 / 2",
        "volume pool/image of rbd is in use",
        "it waits for 3 s; ask again",
        "",
    ],
)
def test_all_else_stays_as_it_is(said: str) -> None:
    assert fit_for(MEMBER, said) == said


def test_json_is_looked_through() -> None:
    said = {"fault": {"code": "c", "message": "at /srv"}, "devices": [{"why": "/a"}], "n": 1}
    place = "(a path of the host)"
    assert fit_for(MEMBER, said) == {
        "fault": {"code": "c", "message": f"at {place}"},
        "devices": [{"why": place}],
        "n": 1,
    }
    assert fit_for(MEMBER, ("/a", None)) == [place, None]
    assert fit_for(ADMIN, said) == said
