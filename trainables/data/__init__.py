"""From untrusted files to a manifest, pixels and splits."""
