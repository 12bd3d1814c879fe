"""The family of errors that a command shows as one message, without a traceback."""


class DevError(RuntimeError):
    """Something that the person at the terminal can do something about. The message says what."""
