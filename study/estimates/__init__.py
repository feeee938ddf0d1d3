"""What a study will cost here, what is worth storing, and what a trial gets of the machine."""
