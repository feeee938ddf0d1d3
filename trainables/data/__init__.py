"""From files of strangers to a manifest, pixels and splits."""
