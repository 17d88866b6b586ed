"""What a caller reads of a failure: where a host keeps its files is for its operators alone.

Errors name the file that they are about, for whoever has to mend it: in the journal, in logs, at
the command line. Users of the API can mend none, and must not learn how a host is laid out. Not
only errors of ours do that, but libvirt's and QEMU's too, and rows that older releases have left;
so it is the words that are looked through, on their way out.
"""

import re
from typing import Any

from worker.api.asked import Who

PLACE = "(a path of the host)"

_PATH = re.compile(
    r"""
    (?P<quote>['"]) (?:\w+://)? /(?=[\w.]) [^'"]* (?P=quote)
    | (?: (?:file|unix):// | (?<![\w/.\]])(?<!::) ) /(?=[\w.]) [^\s'"<>()\[\]{}]*
    """,
    re.VERBOSE,
)
_OF_GUESTS = re.compile(r"/dev/(?:vd|sd|hd|xvd)[a-z]{1,3}")
"""What users call their devices."""

_AFTER = ".,:;"


def fit_for(who: Who, said: Any) -> Any:  # noqa: ANN401 - words, or JSON that has some
    """Return what the caller may read of a failure: all of it, or all but paths of a host."""
    return said if who.is_admin else without_paths(said)


def without_paths(said: Any) -> Any:  # noqa: ANN401 - words, or JSON that has some
    """Return the words, or JSON with all its words, in which no path stands.

    Where one has a space in it and no quotes around it, what comes after the space stays.
    """
    match said:
        case str():
            return _PATH.sub(_unplaced, said)
        case dict():
            return {name: without_paths(each) for name, each in said.items()}
        case list() | tuple():
            return [without_paths(each) for each in said]
        case _:
            return said


def _unplaced(found: re.Match[str]) -> str:
    path = found[0].strip("'\"").rstrip(_AFTER)
    if _OF_GUESTS.fullmatch(path):
        return found[0]
    after = "" if found["quote"] else found[0][len(found[0].rstrip(_AFTER)) :]
    return PLACE + after
