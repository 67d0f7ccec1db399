"""Editions in words: what is in force, and what is done without for which reason."""

import pytest

from ingest.store.schema.edition import Edition

PLAIN = Edition(17, timescaledb="", available="2.19.3", preloaded=True, licensed=False)


def made(version: str, *, licensed: bool) -> Edition:
    return Edition(17, timescaledb=version, available=version, preloaded=True, licensed=licensed)


@pytest.mark.parametrize("version", ["2.19.3", "2.23.0-dev", "3.0.0"])
def test_community_has_everything(version: str) -> None:
    edition = made(version, licensed=True)

    assert edition.off == ()
    assert (
        str(edition)
        == f"PostgreSQL 17 with TimescaleDB {version}, Community edition: a hypertable, compressed"
        " when it is old"
    )


def test_apache_has_the_hypertable() -> None:
    edition = made("2.23.0", licensed=False)

    assert (edition.hypertable, edition.community) == (True, False)
    assert edition.off == (
        "columnstore, policies, continuous aggregates: the Apache edition has none",
    )


def test_community_before_the_columnstore_is_used_like_apache() -> None:
    edition = made("2.9.3", licensed=True)

    assert (edition.hypertable, edition.community) == (True, False)
    assert edition.off == (
        "columnstore, policies, continuous aggregates: 2.9.3 is older than 2.19",
    )


def test_plain_states_what_the_server_could_do() -> None:
    assert str(PLAIN) == "PostgreSQL 17, without TimescaleDB: an ordinary table, no compression"
    assert "purple-sector database upgrade makes it" in PLAIN.off[0]


@pytest.mark.parametrize(
    ("made_with", "available", "pending"),
    [
        ("2.19.3", "2.19.3", False),
        ("2.9.3", "2.19.3", True),
        ("2.19.2", "2.19.3", True),
        ("", "2.19.3", False),
    ],
)
def test_update_is_pending_where_the_library_is_newer(
    made_with: str, available: str, pending: bool
) -> None:
    edition = Edition(17, timescaledb=made_with, available=available, preloaded=True, licensed=True)

    assert edition.update_pending is pending
    assert [("purple-sector database upgrade updates it" in line) for line in edition.warnings] == [
        True
    ] * pending


def test_licence_that_was_lost_is_a_warning() -> None:
    lost = Edition(
        17,
        timescaledb="2.29.2",
        available="2.29.2",
        preloaded=True,
        licensed=False,
        unlicensed=("3 compressed chunks",),
    )

    (warning,) = lost.warnings
    assert "this store has 3 compressed chunks" in warning
    assert "timescaledb.license = 'timescale'" in warning
