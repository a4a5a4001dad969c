"""How a problem is run: none of it changes the results."""

import dataclasses

from nst_jax.engine.checkpoint import Keep
from nst_jax.engine.pace import AUTO, Interval
from nst_jax.engine.results import SweepCallback, Watch
from nst_jax.errors import SettingsError


@dataclasses.dataclass(frozen=True)
class RunOptions:
    """How a problem is run.

    Attributes:
        callback, report_every, save_every, lanes_at_once, memory: as `sweep` takes them.
        must_be_finite: whether an initial image without a finite loss is an error; else its lane
            keeps that image, and its losses say so.
        stop: number of the last step to be evaluated; None goes to the end.
        keep: takes the checkpoints of lanes as they go on; None: none are made, nor where a round
            ends early.
        checkpoint_every: how often.
        watch: is shown the run as it goes on.

    Raises:
        SettingsError: an interval or a number of lanes is less than 1.
    """

    callback: SweepCallback | None = None
    report_every: int = 10
    save_every: int | None = None
    lanes_at_once: int | None = None
    memory: int | None = None
    must_be_finite: bool = False
    stop: int | None = None
    keep: Keep | None = None
    checkpoint_every: Interval = AUTO
    watch: Watch | None = None

    def __post_init__(self):
        check_intervals(
            report_every=self.report_every,
            save_every=self.save_every,
            lanes_at_once=self.lanes_at_once,
        )


def check_intervals(**intervals: int | None) -> None:
    """Refuse numbers of steps or lanes below 1; None means that there is no limit.

    Raises:
        SettingsError: one of them is.
    """
    for name, value in intervals.items():
        if value is not None and value < 1:
            raise SettingsError(f"{name} is {value}; wanted at least 1")
