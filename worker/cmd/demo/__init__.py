"""The demo: the main job on a small real guest, and what that guest is made of."""
