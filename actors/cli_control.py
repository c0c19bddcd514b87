"""The commands around the control socket itself: keys of clients, and the audit trail."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from actors.arguments import store_path
from actors.cli_journal import reading
from actors.cli_parts import (
    CONFIG_DEFAULT,
    EXIT_DOWN,
    EXIT_REFUSED,
    STATE_DEFAULT,
    Config,
    Json,
    State,
    fail,
    show,
)
from actors.console.audit import entries
from actors.console.clients import NAME, Client, alone_with, fingerprint, read_clients, write_clients
from actors.console.verbs import ROLES
from actors.control_keys import KeyFile, keep_server_keys, why_not, write_key_file
from actors.control_screens import audit_text, audit_view, keys_text
from actors.problem import render
from actors.settings_file import CLIENTS_DEFAULT, load
from runtime.bus.outside import new_keys
from runtime.errors import OperatingError
from runtime.store import Reader

keys = typer.Typer(help="Who may send commands with a key.", no_args_is_help=True, add_completion=False)

Role = Annotated[str, typer.Option("--role", help=f"What the client may do: {', '.join(ROLES)}.")]
Clients = Annotated[Path | None, typer.Option("--clients", help="The list; left out: the configuration's.")]


@keys.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="The client's name: letters, digits and _ . -")],
    role: Role = "read",
    out: Annotated[Path | None, typer.Option("--out", help="The key file; left out: NAME.key here.")] = None,
    clients: Clients = None,
    config: Config = CONFIG_DEFAULT,
    state: State = STATE_DEFAULT,
) -> None:
    """Make a key for a client and list it.

    The secret goes to a new file of mode 0600, for the client alone; the desk keeps its public key.
    """
    file, connect = _list_of(config, clients)
    if not NAME.fullmatch(name) or name == "local":
        fail(f"{name!r} is no name; write letters, digits and _ . -, at most 64, and not local", EXIT_REFUSED)
    if role not in ROLES:
        fail(f"{role!r} is no role; write one of {', '.join(ROLES)}", EXIT_REFUSED)
    public, secret = new_keys()
    target = out if out is not None else Path(f"{name}.key")
    try:
        with alone_with(file):
            listed = _listed(file)
            if any(client.name == name for client in listed):
                fail(f"{name} is listed in {file}; remove it first with: bulkhead keys remove {name}", EXIT_REFUSED)
            server = keep_server_keys(state)
            write_key_file(target, KeyFile(name, connect, server, public, secret))
            write_clients(file, (*listed, Client(name, role, public)))
    except (OSError, ValueError) as error:
        fail(f"{why_not(error)}; {name} is not listed", EXIT_REFUSED)
    closed = "the configuration has no tcp:// address under global.control.listen, so the key file names none"
    door = f"\nthe desk listens on {connect}" if connect else f"\n{closed}"
    text = f"{name} may {role}; its key is {fingerprint(public)}\nsecret: {target}\nlisted in: {file}{door}"
    show({"name": name, "role": role, "key": public, "file": str(target)}, text, as_json=False)


@keys.command("list")
def list_keys(clients: Clients = None, config: Config = CONFIG_DEFAULT, as_json: Json = False) -> None:
    """List the clients: name, role, and the short name of the key."""
    file, _ = _list_of(config, clients)
    rows = [{"name": c.name, "role": c.role, "key": fingerprint(c.key)} for c in _listed(file)]
    show(rows, keys_text(rows), as_json=as_json)


@keys.command("remove")
def remove_key(name: str, clients: Clients = None, config: Config = CONFIG_DEFAULT) -> None:
    """Take a client's rights away, at once, also of its open connections."""
    file, _ = _list_of(config, clients)
    try:
        with alone_with(file):
            listed = _listed(file)
            left = tuple(client for client in listed if client.name != name)
            if len(left) == len(listed):
                known = ", ".join(client.name for client in listed) or "nobody"
                fail(f"{name} is not listed in {file}; there are: {known}", EXIT_REFUSED)
            write_clients(file, left)
    except OSError as error:
        fail(f"{why_not(error)}; {name} is still listed", EXIT_REFUSED)
    show({"removed": name}, f"{name} is removed from {file}", as_json=False)


def audit(
    state: State = STATE_DEFAULT,
    tail: Annotated[int, typer.Option("--tail", min=0, help="Only the last so many; 0: all.")] = 0,
    as_json: Json = False,
) -> None:
    """Show who changed what and why, and who was refused.

    Also of a stopped desk. The chain of all records is checked first; exit code 3 where it is broken.
    """
    folder = store_path(state, "console")

    def work() -> None:
        try:
            reader = Reader.open(folder)
        except OperatingError as error:
            fail(f"{error}; has a desk ever run on {state}?", EXIT_DOWN)
        try:
            reader.verify()
            rows = audit_view(entries(reader), tail or None)
        except (OperatingError, msgspec.MsgspecError) as error:
            fail(f"the audit trail was changed or is damaged: {error}", EXIT_REFUSED)
        finally:
            reader.close()
        show(rows, audit_text(rows), as_json=as_json)

    reading(folder, work)


def _list_of(config: Path, clients: Path | None) -> tuple[Path, str]:
    """Give the list of clients and the door's address that the configuration names."""
    if clients is not None and not config.exists():
        return clients, ""
    loaded = load(config)
    if loaded.settings is None:
        fail(render(loaded.problems), EXIT_REFUSED)
    control = loaded.settings.control
    connect = control.listen if control.listen.startswith("tcp://") else ""
    return clients or Path(control.clients or config.absolute().parent / CLIENTS_DEFAULT), connect


def _listed(file: Path) -> tuple[Client, ...]:
    found = read_clients(file)
    if isinstance(found, str):
        fail(f"{found}; nothing was changed", EXIT_REFUSED)
    return found
