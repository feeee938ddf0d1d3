"""The layouts that data sets come in: one reader each."""
