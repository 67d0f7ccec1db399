"""What the status says of a database's own words."""

import pytest

from serve.cli.store_diagnosis import Lacking, explain_job_error, explain_scheduler


@pytest.mark.parametrize(
    ("code", "message", "meaning"),
    [
        (
            "24000",
            'cannot drop portal "" while it is being set up',
            "its work was done and committed",
        ),
        ("40P01", "deadlock detected", "waited for each other; it is run again by itself"),
        ("55P03", "canceling statement due to lock timeout", "what it needs was locked"),
    ],
)
def test_message_of_a_failed_job_comes_with_what_it_means(
    code: str, message: str, meaning: str
) -> None:
    told = explain_job_error(code, message)

    assert told.startswith(f"{code}: {message}: ")
    assert meaning in told


@pytest.mark.parametrize("code", ["24000", "53100", None])
def test_other_message_stands_for_itself(code: str | None) -> None:
    assert explain_job_error(code, "no space left") == f"{code or 'no code'}: no space left"


def test_database_without_a_scheduler_is_reported_with_the_settings() -> None:
    """The counts are made up: the server of the tests has workers left for each database."""
    limits = {"everywhere": 16, "databases": 20, "background_workers": "16", "processes": "24"}
    told = explain_scheduler(here=0, **limits)

    assert "none of its jobs is run: 16 schedulers run in 20 databases" in told
    assert (
        "raise timescaledb.max_background_workers (now 16) and max_worker_processes (now 24)"
        in told
    )
    assert explain_scheduler(here=1, **limits) == ""


def test_frames_that_lack_name_a_session() -> None:
    told = str(Lacking(sessions=2, frames=4_500, first="spa"))

    assert told.startswith(
        "4,500 frames of 2 sessions were stored once and are not there, of 'spa' among them"
    )
