"""The operating errors of the runtime, one class a layer, and the words of any error."""


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


def words_of(failure: BaseException) -> str:
    """Say what an exception is, on one line of at most 500 characters; also one whose own words cannot be had."""
    try:
        said = str(failure)
    except Exception:  # noqa: BLE001 - it is a strategy's class, and may do anything; its name is worth more than nothing
        said = "it raised again when it was asked what is wrong"
    return f"{type(failure).__name__}: {said}".removesuffix(": ").replace("\n", " ")[:500]
