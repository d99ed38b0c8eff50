"""The matrix in docs/drop_in.md has the rows and columns that are tested."""

from device_checks import CHECKS
from forked import ROOT
from public_calls import CALLS, DIFFERENTIABLE, ONE_OF_EACH_KIND

TEXT = (ROOT / "docs" / "drop_in.md").read_text()
COLUMNS = {
    "over keys": CALLS,
    "derivatives": DIFFERENTIABLE,
    "flags, platforms": CALLS,
    **{
        title: CHECKS[title][1]
        for title in ("shard_map", "shard_map, split kernels", "Explicit mesh", "Explicit mesh, split kernels", "pmap")
    },
    "computed": ONE_OF_EACH_KIND,
}


def test_the_matrix():
    rows = [["function", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    rows += [[f"`{name}`", *("yes" if name in names else "" for names in COLUMNS.values())] for name in CALLS]
    table = "\n".join("|" + "|".join(f" {cell} " if cell != "---" else cell for cell in row) + "|" for row in rows)
    assert table in TEXT, f"docs/drop_in.md must have this table:\n{table}"
