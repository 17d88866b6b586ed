"""os-brick on a kernel that has the modules: what it connects, and what it leaves."""
