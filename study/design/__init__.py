"""The design of a study: study files, the balanced plan, and the config of each trial."""
