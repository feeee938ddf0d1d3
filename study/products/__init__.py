"""What a study leaves: tables, examples, and the winner as a model."""
