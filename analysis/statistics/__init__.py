"""Statistics on arrays and frames, independent of any study."""
