"""The one exception that a user's mistake raises."""


class RepriseError(Exception):
    """Something the user can put right.

    The message is one sentence that says what is wrong and names the way out. The command line prints it
    without a traceback; anything else that escapes is a fault of Reprise.
    """
