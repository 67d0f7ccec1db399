"""Names of users that nobody mistakes for another's."""

import pytest

from ingest.kafka.collector_users import lookalike


@pytest.mark.parametrize("other", ["Anna", "ANNA", "a.nna", "a_nna", "A-nna"])
def test_names_that_differ_in_capitals_and_marks_look_alike(other):
    user = "anna" if other.casefold() == "anna" else "a-nna"

    assert lookalike(user, ["bob", other]) == other


@pytest.mark.parametrize("other", ["anna", "annabel", "an.na", "anna2"])
def test_the_same_name_and_other_names_do_not(other):
    assert lookalike("anna", [other]) is None
