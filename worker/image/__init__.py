"""Images, and the files that are made of them: local disks and config drives."""
