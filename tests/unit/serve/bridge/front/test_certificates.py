"""A certificate, its issuers and its key: what is taken, and what is refused in words."""

import hashlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ingest.embedded.certificates import CertificateAuthority
from serve.bridge.front.certificates import CertificateFault, key_pair, read_key_pair
from tests.key_pairs import renew

NOW = datetime.now(UTC)
CERTIFICATE, KEY = "WS_TLS_CERTIFICATE", "WS_TLS_KEY"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority, tmp_path_factory):
    return renewed(authority, tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def root(authority):
    return authority.ca_file.read_bytes()


def renewed(authority, folder):
    """A new chain with its key."""
    return tuple(path.read_bytes() for path in renew(authority, folder))


def written(key, encryption=None):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    )


def refusal(chain, key, now=NOW):
    with pytest.raises(CertificateFault) as refused:
        key_pair(chain, key, now)
    return refused.value.setting, str(refused.value)


def test_a_chain_and_its_key_are_one_file_that_tls_takes(pair, root, tmp_path):
    chain, key = pair

    good = key_pair(b"# a comment\n\n" + chain + b"\n" + root, key, NOW)

    (tmp_path / "page.pem").write_bytes(good.pem)
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tmp_path / "page.pem")
    assert good.pem.count(b"BEGIN CERTIFICATE") == 2
    assert b"\n\n" not in good.pem, "an empty line ends what HAProxy's socket reads"
    own = ssl.PEM_cert_to_DER_cert(chain.decode())
    assert good.fingerprint == hashlib.sha1(own).hexdigest().upper()
    assert good.subject == "CN=page"


def test_what_is_no_certificate_or_key_is_named(pair):
    chain, key = pair

    assert refusal(b"", key) == (
        CERTIFICATE,
        "holds no certificate in PEM: want -----BEGIN CERTIFICATE-----",
    )
    assert refusal(chain, b"-----BEGIN PRIVATE KEY-----\n") == (KEY, "holds no private key in PEM")


def test_a_key_of_another_certificate_is_refused(pair, authority, tmp_path):
    other = renewed(authority, tmp_path)

    assert refusal(other[0], pair[1]) == (
        KEY,
        "is not the key of CN=page in WS_TLS_CERTIFICATE: renew both together",
    )


def test_times_are_those_of_the_pages_certificate(pair):
    own = x509.load_pem_x509_certificate(pair[0])

    setting, expired = refusal(*pair, own.not_valid_after_utc)
    assert setting == CERTIFICATE
    assert expired.startswith("CN=page expired on ")
    _, early = refusal(*pair, own.not_valid_before_utc - timedelta(seconds=1))
    assert "is this clock right?" in early
    key_pair(*pair, own.not_valid_after_utc - timedelta(seconds=1))
    key_pair(*pair, own.not_valid_before_utc)


def test_the_order_of_a_chain_is_checked(pair, root, authority, tmp_path):
    chain, key = pair
    other, _ = renewed(authority, tmp_path)

    assert "has to be the first" in refusal(root + chain, key)[1]
    assert "and is not its issuer" in refusal(chain + other, key)[1]


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        (rsa.generate_private_key(public_exponent=65537, key_size=1024), "2048 bits"),
        (ed25519.Ed25519PrivateKey.generate(), "a key of RSA or of ECDSA"),
    ],
)
def test_a_key_that_is_weak_or_that_browsers_do_not_take_is_refused(pair, key, problem):
    setting, sentence = refusal(pair[0], written(key))

    assert setting == KEY
    assert problem in sentence


def test_a_passphrase_is_refused(pair):
    key = ec.generate_private_key(ec.SECP256R1())
    protected = written(key, serialization.BestAvailableEncryption(b"secret"))

    assert "openssl pkey removes it" in refusal(pair[0], protected)[1]


@pytest.fixture
def files(authority, tmp_path):
    return renew(authority, tmp_path)


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640])
def test_a_key_of_this_user_or_its_group_is_read(files, mode):
    files[1].chmod(mode)

    assert read_key_pair(*files, NOW).subject == "CN=page"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o660, 0o602])
def test_a_key_that_others_may_use_is_refused(files, mode):
    files[1].chmod(mode)

    with pytest.raises(CertificateFault, match=f"mode {mode:04o}.*chmod 600 .*key.pem"):
        read_key_pair(*files, NOW)


def test_a_file_that_is_not_there_or_is_another_is_named(files):
    with pytest.raises(CertificateFault, match="cannot be read: No such file"):
        read_key_pair(files[0].with_name("none"), files[1], NOW)
    files[0].write_bytes(b"x" * 70_000)
    with pytest.raises(CertificateFault, match="is it another file"):
        read_key_pair(*files, NOW)
