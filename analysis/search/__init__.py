"""Results of the search: many settings, one run each."""
