"""Trials on Ray: the cluster, the Tune adapters, and workers that train one trial together."""
