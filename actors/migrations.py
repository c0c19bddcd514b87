"""Bringing the stores of an older desk to what this one writes, at a start, each after a copy of it was put aside."""

import shutil
from pathlib import Path

from actors.arguments import store_path
from actors.journal import LEDGER_SCHEMA
from runtime.errors import StartError, StoreError, StoreVersionError
from runtime.folder import ASIDE_PREFIX, store_folders
from runtime.store import Reader, Schema, Store, seal_store
from runtime.store_format import FORMAT

_PLAIN = Schema()


def schema_of(state: Path, folder: Path) -> Schema:
    """Say which version of its owner a store has to be of."""
    return LEDGER_SCHEMA if folder == store_path(state, "execution") else _PLAIN


def convert_stores(state: Path) -> list[Path]:
    """Convert every store that is of an older version; name those that were. Nobody else may have them open.

    Each conversion is one transaction, so a store is of one version or of the other, whatever happens.

    Raises:
        StartError: A store cannot be converted, or a newer version of the desk wrote it. The text says what to do.
    """
    converted: list[Path] = []
    for folder in store_folders(state):
        schema = schema_of(state, folder)
        try:
            if _is_older(folder, schema):
                _put_aside(state, folder)
                seal_store(folder)
                store = Store.open(folder)
                try:
                    store.convert(schema)
                finally:
                    store.close()
                converted.append(folder)
        except StoreError as error:
            msg = (
                f"{error}\n  Nothing was started and no order was sent; resting stops at venues stay.\n"
                "  Start it with the version of the desk that wrote it last, or restore a backup with: bulkhead restore"
            )
            raise StartError(msg) from error
    return converted


def _is_older(folder: Path, schema: Schema) -> bool:
    """Say whether a store has to be converted.

    Raises:
        StoreVersionError: A newer version of the desk wrote it.
    """
    reader = Reader.open(folder)
    try:
        summary = reader.summary()
    finally:
        reader.close()
    known = schema.version
    if summary.schema > known:
        msg = f"{folder}: a newer version of the desk wrote it, in schema {summary.schema}; this one knows {known}"
        raise StoreVersionError(msg)
    return summary.format < FORMAT or summary.schema < schema.version


def _put_aside(state: Path, folder: Path) -> None:
    """Copy a store before it is changed; what a start that did not get further left there is replaced."""
    reader = Reader.open(folder)
    try:
        summary = reader.summary()
        version = f"v{summary.format}.{summary.schema}"
        aside = state / f"{ASIDE_PREFIX}before-v{FORMAT}" / folder.relative_to(state) / version
        if (aside / "data.mdb").exists():
            return
        unfinished = aside.with_name(f"{version}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        reader.copy_to(unfinished)
        unfinished.rename(aside)
    finally:
        reader.close()
