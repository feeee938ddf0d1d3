"""Activations of frozen parts, computed once and stored, and nearest neighbors among them."""
