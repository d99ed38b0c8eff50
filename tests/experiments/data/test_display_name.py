"""What data sets are called in titles."""

from experiments.data.display_name import display_name


def test_names_are_spelt_as_usual():
    assert [display_name(name) for name in ("digits", "mnist", "cifar10")] == ["Digits", "MNIST", "CIFAR-10"]
    assert display_name("mnist (held-out part)") == "MNIST (held-out part)" and display_name("own data") == "own data"
