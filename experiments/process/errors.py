"""How a program tells its user, in one line, that it can't go on."""


class UsageError(Exception):
    """What was asked for can't be done; the message is one line for the user, and the exit code 2."""


class OutputError(Exception):
    """Results can no longer be written; the message is one line for the user, and the exit code 1."""
