"""The command line."""

import sys

# futurist and oslo.privsep import eventlet wherever it is installed, only to ask whether it has
# patched the world. It has not: all our threads are real ones. Hidden, it costs no start-up time
# and prints no notice of its deprecation.
sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]
