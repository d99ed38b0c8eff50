"""What data sets are called in titles."""

_NAMES = {"digits": "Digits", "mnist": "MNIST", "cifar10": "CIFAR-10"}


def display_name(data: str) -> str:
    """The usual spelling of a data set's name, which may be followed by a space and more; other names as they are."""
    name, *more = data.split(" ", 1)
    return " ".join([_NAMES.get(name, name), *more])
