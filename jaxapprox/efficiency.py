"""Whether sampling pays: the noise that it adds, the time that it saves, and the progress per second with both.

`measure` does all of it for two losses; `jaxapprox.linen.efficiency` and `jaxapprox.nnx.efficiency` do it for a model
and rules that approximate its layers.
"""

from jaxapprox._src.efficiency.inner_products import ExactGradient, SampledGradient
from jaxapprox._src.efficiency.jackknife import Estimate, Interval
from jaxapprox._src.efficiency.measure import measure
from jaxapprox._src.efficiency.moments import Moments
from jaxapprox._src.efficiency.noise import GradientNoise, gradient_noise
from jaxapprox._src.efficiency.progress import Efficiency, Memory, efficiency
from jaxapprox._src.efficiency.step_time import StepTime
from jaxapprox._src.flops import flops

__all__ = [
    "Efficiency",
    "Estimate",
    "ExactGradient",
    "GradientNoise",
    "Interval",
    "Memory",
    "Moments",
    "SampledGradient",
    "StepTime",
    "efficiency",
    "flops",
    "gradient_noise",
    "measure",
]
