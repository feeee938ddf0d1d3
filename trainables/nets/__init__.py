"""Backbones: their weights, where they are cut, which parameters train, and how much they compute."""
