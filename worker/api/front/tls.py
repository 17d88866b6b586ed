"""TLS of the web server."""

import ssl
from pathlib import Path
from typing import Any

from cheroot.ssl.builtin import BuiltinSSLAdapter

from worker.api.front.private_files import WITH_A_GROUP, check_private
from worker.errors import Invalid


class LateAdapter(BuiltinSSLAdapter):
    """TLS 1.2 and later, whose handshake is made where the request is read.

    cheroot's own waits for it where connections are accepted: one client that says nothing would
    keep all others out.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load both; raises Invalid."""
        check_private(key, forbidden=WITH_A_GROUP)
        try:
            super().__init__(str(certificate), str(key))
        except (OSError, ValueError) as error:
            message = (
                f"[api] tls_certificate = {certificate} and tls_key = {key} cannot be used"
                f" ({error}); both are PEM, and belong to each other"
            )
            raise Invalid(message) from error
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def wrap(self, sock: Any) -> tuple[Any, dict[str, str]]:  # noqa: ANN401 - a socket
        """Return the socket, on which nothing was said yet."""
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return wrapped, {"wsgi.url_scheme": "https", "HTTPS": "on"}
