"""The exceptions that mean: the user's input, not our code."""


class InputError(ValueError):
    """Bad input found before anything expensive starts; one line: the rule, the value, the way out.

    The command line prints it and exits with status 2.
    """


class Unavailable(InputError):
    """What every trial needs is not there any more, such as a picture: no fault of one trial's setting.

    The study stops with this line, and goes on where it was once it is put right.
    """
