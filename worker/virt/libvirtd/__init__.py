"""The daemon and the connection to it: opened, lost, found again, its events."""
