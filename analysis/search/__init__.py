"""What the search found, across many settings of one run each."""
