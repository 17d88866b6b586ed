"""The built-in pool of volumes: files of this host, and Cinder's states about them."""
