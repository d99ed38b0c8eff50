"""The registry of tables: what a page's marker names, and the function that writes it from records."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from experiments.record.quote import accuracy_tables, chip_tables, device_tables, race_tables, speed_tables

TABLES: Mapping[str, Callable[[Sequence[Path]], list[str]]] = {
    "accuracy": accuracy_tables.accuracy,
    "cost": accuracy_tables.cost,
    "paired": accuracy_tables.paired,
    "beside": accuracy_tables.beside,
    "collapse": accuracy_tables.collapse,
    "selection": accuracy_tables.selection,
    "depths": accuracy_tables.depths,
    "mlp-steps": speed_tables.mlp_steps,
    "convolutions": speed_tables.convolutions,
    "hashed-layers": speed_tables.hashed_layers,
    "wide-race": speed_tables.wide_race,
    "wide-steps": speed_tables.wide_steps,
    "wide-sizes": speed_tables.wide_sizes,
    "transformer": speed_tables.transformer,
    "seeds-per-hour": speed_tables.seeds_per_hour,
    "device-layers": device_tables.layers,
    "device-steps": device_tables.steps,
    "tpu-layers": chip_tables.layers,
    "tpu-steps": chip_tables.steps,
    "tpu-sweeps": chip_tables.sweeps,
    "races": race_tables.races,
}
"""Functions of the directories that a marker names, which return a table's lines."""
