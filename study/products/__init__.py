"""The output of a study: tables, example images, and the winner as a model."""
