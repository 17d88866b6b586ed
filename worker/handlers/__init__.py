"""One file per method: a plain function (request, ports)."""
