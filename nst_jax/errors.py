"""The errors that users can cause; the command line turns each into one line and exit code 2."""


class NSTError(Exception):
    """Base of every error that a user can put right. The message says what, got, wanted, remedy."""


class ImageError(NSTError):
    """An image file cannot be read, is too small or too large, or cannot be written."""


class SettingsError(NSTError):
    """A setting is unknown, out of range, or does not go with another."""


class WeightsError(NSTError):
    """A weights file is missing, damaged, of another network or layout, or cannot be fetched."""


class FailedLanesError(Exception):
    """Lanes of a sweep, or photographs of a folder, have no picture; all others do. Exit code 1."""


class MisplacedError(Exception):
    """A result could not be written where it was to stand; it may stand elsewhere. Exit code 1."""


class PeerLostError(Exception):
    """Another process of this run has died or cannot be reached. Exit code 1."""
