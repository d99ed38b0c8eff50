"""Progress per second of exact and sampled training, each at its best batch size."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from jaxapprox._src.checks import check_int
from jaxapprox._src.efficiency.jackknife import Interval, error, quantile
from jaxapprox._src.efficiency.moments import Statistics
from jaxapprox._src.efficiency.noise import GradientNoise
from jaxapprox._src.efficiency.step_time import StepTime

LADDER = tuple(2**i for i in range(13))
_LEAST = 1e-3  # of a cosine's numerator and of variances, so that logarithms are finite

_ASSUMPTIONS = (
    "Assumed: the best learning rate at each size; every direction of the gradient counts alike. Left out: what a bias"
    " adds up to over many steps; what BatchNorm does at other batch sizes."
)


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes that a step of `batch_size` examples needs beside its arguments and results, by the compiler's account."""

    batch_size: int
    exact: int
    sampled: int


@dataclasses.dataclass(frozen=True)
class Efficiency:
    r"""The progress per second of sampled training over that of exact training; `str` says all.

    A step descends the gradient at its best length: its progress is (G m)^2 / (|G|^2 E|ĝ|^2) of the greatest possible,
    for an exact gradient 1 / (1 + N / B). Each may choose its batch size B from a ladder. Above 1 it pays.

    Attributes:
        noise: signal, noise and bias.
        exact_time, sampled_time: of a step.
        ladder: the batch sizes that both could choose from.
        unbiased: whether the sampled gradient was taken to be right on average.
        memory: of a step; None if not measured.
        timing_seconds: how long all steps that were timed took, compiling aside.
    """

    noise: GradientNoise
    exact_time: StepTime
    sampled_time: StepTime
    ladder: tuple[int, ...] = LADDER
    unbiased: bool = False
    memory: Memory | None = None
    timing_seconds: float = 0.0

    def at(self, batch_size: int | None = None, exact_size: int | None = None) -> Interval:
        """The efficiency with a 95 % interval, at the best sizes of the ladder or at those that are given.

        Where the signal can't be told from 0, the interval holds for all N from `noise_scale_above` on, with no bias,
        and the value is its geometric middle.

        Args:
            batch_size: of the sampled steps.
            exact_size: of the exact steps that they are compared with.
        """
        sampled_sizes, exact_sizes = (
            np.asarray(self.ladder if size is None else (size,), np.float64) for size in (batch_size, exact_size)
        )

        def logs(statistics: Statistics, exact_time: StepTime, sampled_time: StepTime) -> np.ndarray:
            sampled = self._sampled(statistics, sampled_time, sampled_sizes).max(1)
            return np.log(sampled / _exact(statistics, exact_time, exact_sizes).max(1))

        intervals = []
        for statistics in self._cases():
            replicates = logs(statistics, self.exact_time, self.sampled_time)
            first = Statistics(*(values[:1] for values in statistics))
            left_out = (
                replicates[1:],
                [logs(first, StepTime(*time), self.sampled_time)[0] for time in self.exact_time.left_out],
                [logs(first, self.exact_time, StepTime(*time))[0] for time in self.sampled_time.left_out],
            )
            halves = [quantile(len(values)) * error(np.asarray(values)) for values in left_out if len(values)]
            intervals.append((replicates[0], math.hypot(*halves)))
        value = sum(value for value, _ in intervals) / len(intervals)
        low, high = min(v - h for v, h in intervals), max(v + h for v, h in intervals)
        return Interval(*(float(np.exp(log)) for log in (value, low, high)))

    @property
    def value(self) -> float:
        """The efficiency at the best sizes."""
        return self.at().value

    @property
    def low(self) -> float:
        """The lower end of its 95 % interval."""
        return self.at().low

    @property
    def high(self) -> float:
        """The upper end."""
        return self.at().high

    @property
    def exact_size(self) -> int:
        """The best batch size of exact training."""
        rates = _exact(self._cases()[0], self.exact_time, np.asarray(self.ladder, np.float64))
        return self.ladder[int(rates[0].argmax())]

    @property
    def sampled_size(self) -> int:
        """The best batch size of sampled training."""
        rates = self._sampled(self._cases()[0], self.sampled_time, np.asarray(self.ladder, np.float64))
        return self.ladder[int(rates[0].argmax())]

    def _cases(self) -> list[Statistics]:
        """The statistics, or if the signal can't be told from 0, those at the least and at an infinite noise scale."""
        found, total = self.noise.statistics, self.noise.total
        none = np.zeros_like(found.signal)
        if total.is_told:
            return [found._replace(across=none, squared_bias=none) if self.unbiased else found]
        signals = (found.variance / total.noise_scale_above, 1e-12 * found.variance)
        return [found._replace(signal=signal, across=none, squared_bias=none) for signal in signals]

    def _sampled(self, statistics: Statistics, time: StepTime, sizes: np.ndarray) -> np.ndarray:
        """Progress per second, of which the signal is a factor that is left out, `(R + 1, sizes)`."""
        signal, variance, across, squared_bias, shrinking, shared = (values[:, None] for values in statistics)
        along = np.maximum((signal + across) / signal, _LEAST)
        power = np.maximum(signal + 2 * across + squared_bias, along**2 * signal)  # by Cauchy and Schwarz
        noise = np.maximum(variance + shrinking, _LEAST * variance) / sizes + np.maximum(shared, 0)
        return along**2 / (power + noise) / time(sizes)

    def __str__(self) -> str:
        efficiency, seconds = self.at(), self.noise.seconds + self.timing_seconds
        verdict = (
            "It pays." if efficiency.low > 1 else "It does not pay." if efficiency.high < 1 else "It can't be told."
        )
        lines = [
            str(self.noise),
            f"A step: exact {self.exact_time}, sampled {self.sampled_time}.",
        ]
        if self.memory is not None:
            exact, sampled = (f"{size / 2**20:.3g} MiB" for size in (self.memory.exact, self.memory.sampled))
            lines.append(f"Memory of a step of {self.memory.batch_size}: exact {exact}, sampled {sampled}.")
        lines += [
            f"Efficiency {efficiency}: progress per second sampled, batches of {self.sampled_size}, over exact,"
            f" batches of {self.exact_size}. {verdict}",
            _ASSUMPTIONS,
            f"Measured in {seconds:.2g} s, as long as {seconds / self.exact_time(64):.0f} exact steps of 64, beside"
            " compiling.",
        ]
        return "\n".join(lines)


def efficiency(
    noise: GradientNoise,
    exact_time: StepTime,
    sampled_time: StepTime,
    ladder: Sequence[int] = LADDER,
    *,
    unbiased: bool = False,
    memory: Memory | None = None,
    timing_seconds: float = 0.0,
) -> Efficiency:
    """The efficiency of sampled training from the noise of its gradients and the times of its steps.

    >>> import jax
    >>> import jax.numpy as jnp
    >>> from jaxapprox.efficiency import StepTime, efficiency, gradient_noise
    >>> def exact(params, batch):
    ...     return params - batch.mean(0)
    >>> def sampled(key, params, batch):
    ...     return exact(params, jax.random.choice(key, batch, (len(batch) // 2,), replace=False))
    >>> examples = jax.random.normal(jax.random.key(0), (1024, 10)) + 0.3
    >>> noise = gradient_noise(jax.random.key(1), exact, sampled, jnp.zeros(10), examples)
    >>> half = efficiency(noise, StepTime(0.01, 0.001), StepTime(0.01, 0.0005), unbiased=True)
    >>> half.low < 1 < half.high  # to drop half of the batch is to choose a smaller one
    True

    Args:
        noise: of `gradient_noise`.
        exact_time, sampled_time: of a whole step.
        ladder: the batch sizes that both may choose from.
        unbiased: the sampled gradient is known to be right on average: what was estimated of its bias is not used.
        memory: of a step, to be printed.
        timing_seconds: how long it took to time the steps, to be printed with what the gradients took.

    Raises:
        ValueError: if the ladder is not of batch sizes.
    """
    if not isinstance(ladder, Sequence) or isinstance(ladder, str) or not ladder:
        raise ValueError(f"ladder must be a sequence of batch sizes, got {ladder!r}")
    for size in ladder:
        check_int("ladder", size, None)
    return Efficiency(noise, exact_time, sampled_time, tuple(ladder), unbiased, memory, timing_seconds)


def _exact(statistics: Statistics, time: StepTime, sizes: np.ndarray) -> np.ndarray:
    return 1 / (statistics.signal[:, None] + statistics.variance[:, None] / sizes) / time(sizes)
