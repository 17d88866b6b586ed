"""A guest booted from a transient disk, while its own disks stay where they are."""
