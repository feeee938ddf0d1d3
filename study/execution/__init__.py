"""Running trials on Ray: the cluster, the Tune adapters, and data-parallel training of one trial."""
