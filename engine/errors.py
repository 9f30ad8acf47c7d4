"""The errors a person is meant to read: one sentence that names the thing and the way out."""


class OracleError(Exception):
    """Base of every error shown to a person without a traceback. Its text is one sentence."""


class UsageError(OracleError):
    """What was asked for cannot be done: a wrong name, number, file or folder (exit code 2)."""


class RunFileError(UsageError):
    """A file or folder that should be a run is not one, is damaged, or is not safe to read."""


class RunFailure(OracleError):
    """A study began and could not go on (exit code 1)."""
