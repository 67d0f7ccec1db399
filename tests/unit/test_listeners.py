"""What other machines reach is named with its port, and what it answers whoever has no token."""

from serve.listeners import Listener, summary


def test_services_that_want_the_token_are_counted_and_others_are_named():
    found = [
        Listener(33_000, "/somewhere/gcs_server --log_dir=x"),
        Listener(34_000, "ray::IDLE"),
        Listener(44_217, "python -u /somewhere/monitor.py --x"),
        Listener(45_000, "ray::DashboardAgent"),
    ]

    assert [one.wants_token for one in found] == [True, True, False, False]
    assert summary(found).endswith(
        "2 ports to whoever has its token, and to anybody 44217 (numbers about the cluster (metrics)), "
        "45000 (numbers about this machine (metrics))"
    )


def test_a_process_that_nobody_knows_is_named():
    (unknown,) = [Listener(5_432, "postgres -D x")]

    assert unknown.answers is None
    assert "5432 (postgres -D x)" in summary([unknown])


def test_nothing_open_is_nothing_to_print():
    assert summary([]) == ""
