"""The findings of a study, a module each: its numbers, its sentences, its table or figure."""
