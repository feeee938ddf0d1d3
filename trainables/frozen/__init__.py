"""What frozen parts compute, once: looked up where it is stored."""
