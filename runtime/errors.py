"""The operating errors of the runtime, one class a layer."""


class OperatingError(Exception):
    """Base of every operating error that the runtime raises."""


class WireError(OperatingError):
    """Bytes that are no word of this wire: wrong version, unknown tag, wrong shape."""


class StoreError(OperatingError):
    """A store that cannot be opened, read or written, or whose chain is broken."""


class StoreVersionError(StoreError):
    """A store that another version of the desk wrote; nothing is wrong with it."""


class ForeignStoreError(StoreError):
    """A whole store that lies where another's was."""


class LockHeldError(OperatingError):
    """Another desk holds the state folder."""


class SpecError(OperatingError, ValueError):
    """A child specification that must not reach a running tree."""


class StartError(OperatingError):
    """The desk cannot start, for a reason that an operator can mend."""
