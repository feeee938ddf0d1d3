"""The one exception that means: the user's input, not our code."""


class InputError(ValueError):
    """Bad input found before anything expensive starts; one line: the rule, the value, the way out.

    The command line prints it and exits with status 2.
    """
