"""What the confirmed models answer: the test fold, with intervals."""
