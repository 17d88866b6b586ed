"""What the worker says of itself: health, metrics, and systemd's watchdog."""
