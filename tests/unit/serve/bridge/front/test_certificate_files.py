"""Certificate files that change while the page runs."""

import pytest
import structlog

from ingest.embedded.certificates import CertificateAuthority
from serve.bridge.front.certificate_watch import CertificateFiles, write_secret
from serve.bridge.front.certificates import CertificateFault
from tests.key_pairs import renew


@pytest.fixture
def authority(tmp_path):
    return CertificateAuthority(tmp_path / "authority")


@pytest.fixture
def paths(authority, tmp_path):
    return renew(authority, tmp_path)


def test_files_that_stay_are_read_once(paths):
    files = CertificateFiles(*paths)

    assert [files.changed() for _ in range(3)] == [False] * 3


def test_a_new_pair_is_good_at_the_second_look(paths, authority):
    """At the first one, its key may not have been written yet."""
    files = CertificateFiles(*paths)
    before = files.good()
    renew(authority, paths[0].parent)

    assert [files.changed() for _ in range(3)] == [False, True, False]
    assert files.good() != before


def test_half_a_pair_is_no_fault_while_the_other_half_is_on_its_way(paths, authority, tmp_path):
    files = CertificateFiles(*paths)
    files.good()
    (tmp_path / "new").mkdir()
    chain, key = renew(authority, tmp_path / "new")
    with structlog.testing.capture_logs() as logs:
        chain.replace(paths[0])
        assert not files.changed()
        key.replace(paths[1])
        assert [files.changed() for _ in range(2)] == [False, True]
    assert logs == []


@pytest.mark.parametrize("broken", ["", "nonsense"])
def test_a_wrong_file_leaves_the_last_good_pair_and_is_logged_once(paths, authority, broken):
    files = CertificateFiles(*paths)
    before = files.good()
    paths[1].write_text(broken)
    with structlog.testing.capture_logs() as logs:
        assert not any(files.changed() for _ in range(5))
    assert files.good() == before
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("certificate_refused", "error")
    assert (line["setting"], line["problem"]) == ("WS_TLS_KEY", "holds no private key in PEM")

    renew(authority, paths[0].parent)

    assert [files.changed() for _ in range(2)] == [False, True]


def test_files_that_are_gone_leave_the_last_good_pair(paths):
    files = CertificateFiles(*paths)
    before = files.good()
    paths[0].unlink()

    assert not any(files.changed() for _ in range(3))
    assert files.good() == before


def test_the_first_pair_has_to_be_good(paths):
    paths[1].chmod(0o644)

    with pytest.raises(CertificateFault, match="chmod 600"):
        CertificateFiles(*paths).good()


def test_haproxys_file_is_this_users_alone_and_replaced_at_once(tmp_path):
    path = tmp_path / "page.pem"
    for content in (b"one", b"other"):
        write_secret(path, content)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["page.pem"]
