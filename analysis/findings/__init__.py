"""The findings of a study, one module each: its numbers, its sentences, its table or figure."""
