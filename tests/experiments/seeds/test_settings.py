"""The settings of a sweep: methods by the values of the options that they read."""

import itertools

import pytest

from experiments.cifar.config import METHODS, Config
from experiments.process.errors import UsageError
from experiments.seeds.settings import families
from experiments.training.method import training_method


def test_settings_are_methods_by_values():
    """Ratio and sampler of the sampled method alone; learning rates of all, in one family."""
    both = {name: METHODS[name] for name in ("exact", "mc")}
    config = Config(ratios=(0.1, 0.5), samplers=("topk", "uniform"), lrs=(0.1, 0.2))
    made = families(config, both)
    assert [f.method for f in made] == [METHODS["exact"], *[METHODS["mc"]] * 4]
    assert [s.name for s in made[0].settings] == ["exact lr 0.1", "exact lr 0.2"]
    values = [(f.config.ratio, f.config.sampler) for f in made[1:]]
    assert values == list(itertools.product(config.ratios, config.samplers))
    assert made[4].settings[1].name == "mc ratio 0.5 sampler uniform lr 0.2"
    assert made[4].settings[1].hyperparameters == {"lrs": 0.2}
    assert [s.name for f in families(Config(), both) for s in f.settings] == ["exact", "mc"]


def test_a_method_sweeps_options_of_several_values():
    """A slip in what it states is said before anything is trained, with the method and the option."""
    for slip in ("ratio", "epochs", "magic"):
        method = training_method(sweeps=(slip,))(lambda config: None)
        with pytest.raises(ValueError, match=f"^sweeps of the method mine must name .* got '{slip}'$"):
            families(Config(), {"mine": method})


def test_what_is_swept_is_what_the_method_states():
    """A method that states no options runs once, and can't read one of several values without anybody's notice."""

    @training_method(sweeps=("ratios",))
    def stated(config):
        return config.ratio

    @training_method()
    def unstated(config):
        return config.ratio

    config = Config(ratios=(0.1, 0.5), samplers=("topk", "uniform"))
    made = families(config, {"stated": stated, "unstated": unstated})
    assert [s.name for f in made for s in f.settings] == ["stated ratio 0.1", "stated ratio 0.5", "unstated"]
    assert [family.method.layers(family.example) for family in made[:2]] == [0.1, 0.5]
    with pytest.raises(UsageError, match=r"--ratio must be a single value here, got 0\.1 0\.5"):
        made[2].method.layers(made[2].example)
