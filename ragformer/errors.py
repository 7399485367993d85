"""Everything that can go wrong, by name.

    RagformerError                 the base: catch this to catch us
    |- ConfigError     (ValueError)      a setting that cannot be used
    |- InputError      (ValueError)      a question, path or file we were given
    |- PdfError        (OSError)         a file that could not be read as a PDF
    |  `- PasswordError                  ... because it needs a (different) password
    |- StoreError      (RuntimeError)    the collection on disk
    |  |- StoreBusyError                 another process is indexing it
    |  |- StoreFullError                 no space left on the device
    |  |- StoreReadOnlyError             it can be read but not written
    |  `- EncoderMismatchError           its vectors come from another encoder
    |- NotFoundError   (LookupError)     no such document, page, model or collection
    |- ServerError     (ConnectionError) the server of a remote model, or what it sent
    |- ClusterError    (ConnectionError) a Ray cluster, one of its nodes, or what runs there
    |- WeightsError    (ValueError)      weights that do not fit their configuration
    `- DivergedError   (ArithmeticError) training whose loss is no longer a number

Each message is one plain sentence: what happened, the values involved, and what to do.
"""


class RagformerError(Exception):
    """Base of every error this library raises on purpose."""


class ConfigError(RagformerError, ValueError):
    """A setting has an unknown name or an unusable value."""


class InputError(RagformerError, ValueError):
    """Something the caller passed cannot be used: a question, a path, a data file."""


class PdfError(RagformerError, OSError):
    """A file could not be read as a PDF."""


class PasswordError(PdfError):
    """A PDF is encrypted and the password given, if any, does not open it."""


class StoreError(RagformerError, RuntimeError):
    """The collection on disk cannot do what was asked."""


class StoreBusyError(StoreError):
    """Another process is writing to the collection, or has while it was read."""


class StoreFullError(StoreError):
    """The disk, or the limit set on the database, is full."""


class StoreReadOnlyError(StoreError):
    """The collection can be read but not written."""


class EncoderMismatchError(StoreError):
    """The collection's vectors were made by another encoder than the one loaded."""


class NotFoundError(RagformerError, LookupError):
    """There is no document, page, model or collection of that name."""


class ServerError(RagformerError, ConnectionError):
    """The server of a remote model cannot be reached, refuses, or sends what cannot be read."""


class ClusterError(RagformerError, ConnectionError):
    """A Ray cluster cannot be reached, or one of its nodes cannot do its part."""


class WeightsError(RagformerError, ValueError):
    """A weights file does not match its configuration: a tensor is missing, extra or misshapen."""


class DivergedError(RagformerError, ArithmeticError):
    """Training has led to a loss that is no finite number; its weights are of no use."""
