"""The one kind of error a person can mend."""


class InputError(ValueError):
    """Bad input, told in one sentence: which file or argument, what is wrong, what would be right.

    The command line prints it and exits with code 2; the plugin shows it; neither shows a traceback.
    """
