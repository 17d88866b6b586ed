"""Key managers: where the passphrases of encrypted volumes are."""
