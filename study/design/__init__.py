"""What is asked: study files read, the balanced plan, from a planned setting to the config of a trial."""
