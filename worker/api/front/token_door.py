"""The door of a token file."""

import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any
from wsgiref.util import application_uri

from worker.api.asked import Refused, Who
from worker.api.front.token_file import Lines, TokenFile, digest_of
from worker.errors import Invalid

LOG = logging.getLogger(__name__)

LONGEST = 4096

ASK = (
    "this request needs a token: send one of the API's token file in X-Auth-Token"
    " (on its host, `blockworker api clouds` prints a clouds.yaml that has it)"
)


class TokenDoor:
    """Lets in whoever has a token of the file."""

    def __init__(
        self, file: TokenFile, same: Callable[[str, str], bool] = hmac.compare_digest
    ) -> None:
        """Read the file; raises Invalid. ``same`` compares two hashes in constant time."""
        self._file = file
        self._same = same
        self._lock = threading.Lock()
        self._stamp = file.stamp()
        self._lines: Lines = file.lines()

    def identify(self, environ: Mapping[str, Any]) -> Who:
        """Return for whom the token stands; raises Refused (401)."""
        who = self.known(str(environ.get("HTTP_X_AUTH_TOKEN", "")))
        if who is None:
            where = application_uri(dict(environ)).rstrip("/").replace('"', "")
            raise Refused(401, ASK, {"WWW-Authenticate": f'Keystone uri="{where}/identity/v3"'})
        return who

    def known(self, token: str) -> Who | None:
        """Return for whom a token stands; None for one that is not in the file.

        Every line is compared, whichever it is, so that the time that it takes says nothing.
        """
        given = digest_of(token[:LONGEST])
        found = [line.who for line in self._read() if self._same(line.digest, given)]
        return found[0] if found else None

    def _read(self) -> Lines:
        stamp = self._file.stamp()
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    self._read_again(stamp)
        return self._lines

    def _read_again(self, stamp: tuple[int, ...]) -> None:
        try:
            self._lines = self._file.lines()
        except Invalid as error:
            LOG.error("token file not read, the last good one counts: error=%s", error)  # noqa: TRY400 - the line says all
        else:
            LOG.info("token file read again: path=%s tokens=%d", self._file.path, len(self._lines))
        self._stamp = stamp
