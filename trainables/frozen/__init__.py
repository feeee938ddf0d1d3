"""The activations of frozen backbones, computed once and stored, and nearest neighbors in feature space."""
