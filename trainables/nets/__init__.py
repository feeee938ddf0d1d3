"""Backbones: where weights come from, where a net is cut, what trains and what that costs."""
