"""The data folder of a broker that never ran."""

import base64

import pytest

from ingest.embedded.kafka.data_folder import (
    format_from,
    is_formatted,
    keep_snapshot,
    new_directory_id,
)

SNAPSHOT = "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"


def test_a_folder_is_made_from_what_was_kept_of_another(tmp_path):
    (tmp_path / "old" / SNAPSHOT).parent.mkdir(parents=True)
    (tmp_path / "old" / SNAPSHOT).write_bytes(b"features")
    keep_snapshot(tmp_path / "old", tmp_path / "kept")

    format_from(tmp_path / "kept", tmp_path / "new", cluster_id="a-cluster", node_id=2)

    assert (tmp_path / "new" / SNAPSHOT).read_bytes() == b"features"
    facts = dict(
        line.split("=", 1)
        for line in (tmp_path / "new" / "meta.properties").read_text().splitlines()
    )
    assert facts.pop("directory.id")
    assert facts == {"version": "1", "cluster.id": "a-cluster", "node.id": "2"}
    assert is_formatted(tmp_path / "new")


def test_where_nothing_was_kept_no_folder_looks_formatted(tmp_path):
    keep_snapshot(tmp_path / "absent", tmp_path / "kept")

    with pytest.raises(OSError, match="kept"):
        format_from(tmp_path / "kept", tmp_path / "new", cluster_id="a-cluster", node_id=1)

    assert not is_formatted(tmp_path / "new")


def test_a_damaged_snapshot_is_refused(tmp_path):
    (tmp_path / "old" / SNAPSHOT).parent.mkdir(parents=True)
    (tmp_path / "old" / SNAPSHOT).write_bytes(b"features")
    keep_snapshot(tmp_path / "old", tmp_path / "kept")
    (tmp_path / "kept").write_bytes((tmp_path / "kept").read_bytes()[:-1])

    with pytest.raises(OSError, match="damaged"):
        format_from(tmp_path / "kept", tmp_path / "new", cluster_id="a-cluster", node_id=1)

    assert not is_formatted(tmp_path / "new")


def test_directory_ids_are_sixteen_bytes_and_never_an_option():
    ids = {new_directory_id() for _ in range(1_000)}

    assert len(ids) == 1_000
    assert {len(base64.urlsafe_b64decode(f"{one}==")) for one in ids} == {16}
    assert not [one for one in ids if one.startswith("-")]
