"""``bulkhead simulate``: the whole desk in one process, on a virtual clock, where everything goes wrong by a seed."""

import importlib
from pathlib import Path
from typing import Annotated

import typer

from actors.cli_parts import Json

#: Each is a process; more than there are processors is of no use to anybody.
JOBS_MAX = 256

simulations = typer.Typer(rich_markup_mode=None)


@simulations.command()
def simulate(  # noqa: PLR0913, PLR0917 - a command has its options
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="How many seeds to run.")] = 200,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Run this one alone.")] = None,
    first: Annotated[int, typer.Option("--from", min=0, help="The first seed.")] = 0,
    jobs: Annotated[
        int, typer.Option("--jobs", min=0, max=JOBS_MAX, help="Processes at once; 0: one for each processor.")
    ] = 0,
    desk: Annotated[str, typer.Option("--desk", help="paper, kraken or alpaca; left out: as the seed draws.")] = "",
    only: Annotated[str, typer.Option("--only", help="The kinds of faults that go wrong, with commas; 'none'.")] = "",
    config: Annotated[Path | None, typer.Option("--config", help="Your own desk, on its own simulated feed.")] = None,
    bars: Annotated[int, typer.Option("--bars", min=0, help="Bars of each symbol; 0: as the seed draws, or all.")] = 0,
    trace: Annotated[bool, typer.Option("--trace", help="Show the timeline of every seed.")] = False,
    as_json: Json = False,
) -> None:
    """Run the desk's own rooms where processes die, links break, disks fill and venues fail, and check every promise.

    One seed is one run, the same on every machine. Nothing leaves this process: no order, no file. Exit code 0: every
    promise held; 1: one was broken, and the smallest run that breaks it is shown.
    """
    # It loads every room of the desk, which no other command and no desk's root has a use for.
    command = importlib.import_module("actors.simulation.command")
    numbers = range(seed, seed + 1) if seed is not None else range(first, first + seeds)
    drawn = command.drawing(desk, only, config, bars)
    raise typer.Exit(command.run_simulation(numbers, drawn, jobs, is_traced=trace, as_json=as_json))
