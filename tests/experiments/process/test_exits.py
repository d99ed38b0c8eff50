"""Where programs write, and how they end."""

import os

import pytest

from experiments.process.errors import OutputError, UsageError
from experiments.process.exits import make_output_directory, run


def test_an_output_directory_is_made_and_left_empty(tmp_path):
    path = tmp_path / "a" / "b"
    make_output_directory(path)
    make_output_directory(path)
    assert path.is_dir() and not list(path.iterdir())


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_what_is_no_directory_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("kept")
    with pytest.raises(UsageError, match=r"^--out must be a writable directory, got "):
        make_output_directory(tmp_path / place)
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_leave_to_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match=r"Permission denied"):
        make_output_directory(tmp_path)
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("error", "code"), [(UsageError("why"), 2), (OutputError("why"), 1), (KeyboardInterrupt(), 130), (None, 0)]
)
def test_exit_codes(capsys, error, code):
    def main():
        if error is not None:
            raise error
        return 0

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == code
    assert capsys.readouterr().err == {0: "", 130: "interrupted\n"}.get(code, "error: why\n")
