"""Training views as functions of a key: policies, operations, mixing."""
