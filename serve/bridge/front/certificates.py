"""Reads a certificate chain with its key, and refuses what browsers would refuse.

`key_pair` is pure: the time is an argument. The rule: HAProxy gets only what was checked here, so
that a wrong file neither stops it nor keeps it from starting.
"""

import os
import stat
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CERTIFICATE, KEY = "WS_TLS_CERTIFICATE", "WS_TLS_KEY"

_MIN_RSA_BITS = 2048
_MAX_BYTES = 64 * 1024
# Members of the key's group may read it, as Debian's ssl-cert does it.
_OF_OTHERS = stat.S_IWGRP | stat.S_IRWXO

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class CertificateFault(Exception):
    """The files cannot serve TLS. ``setting`` names the one to mend, and the message how."""

    def __init__(self, setting: str, sentence: str) -> None:
        super().__init__(sentence)
        self.setting = setting


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A checked chain with its key. ``pem`` has both, without the comments of the files.

    ``fingerprint`` is the SHA-1 of the page's certificate as HAProxy shows it: hexadecimal, in
    upper case.
    """

    pem: bytes
    fingerprint: str
    not_after: datetime
    subject: str


def read_key_pair(certificate: Path, key: Path, now: datetime) -> KeyPair:
    """Read and check both files. Raises CertificateFault."""
    return key_pair(
        _read(certificate, CERTIFICATE, forbidden=0), _read(key, KEY, forbidden=_OF_OTHERS), now
    )


def key_pair(chain: bytes, key: bytes, now: datetime) -> KeyPair:
    """Check a chain and its key, both PEM, at the time ``now``. Raises CertificateFault."""
    certificates, private = _certificates(chain), _private_key(key)
    own = certificates[0]
    _check_match(certificates, private)
    _check_times(own, now)
    for one, issuer in pairwise(certificates):
        if one.issuer != issuer.subject:
            raise CertificateFault(
                CERTIFICATE,
                f"{_named(issuer)} follows {_named(one)}, and is not its issuer: put the page's"
                " certificate first, and each issuer behind what it signed",
            )
    return KeyPair(
        b"".join([*map(_pem, certificates), _key_pem(private)]),
        # SHA-1 names a certificate here, and proves nothing.
        own.fingerprint(hashes.SHA1()).hex().upper(),
        own.not_valid_after_utc,
        _named(own),
    )


def _read(path: Path, setting: str, *, forbidden: int) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & forbidden:
                raise CertificateFault(
                    setting, f"other users may use the key (mode {mode:04o}): chmod 600 {path}"
                )
            read = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise CertificateFault(setting, f"cannot be read: {error.strerror}") from None
    if len(read) > _MAX_BYTES:
        raise CertificateFault(setting, f"has more than {_MAX_BYTES} bytes: is it another file?")
    return read


def _certificates(chain: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(chain)
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateFault(
            CERTIFICATE, "holds no certificate in PEM: want -----BEGIN CERTIFICATE-----"
        ) from None


def _private_key(key: bytes) -> _Key:
    try:
        private = serialization.load_pem_private_key(key, None)
    except TypeError:
        raise CertificateFault(
            KEY, "the key has a passphrase, which nobody can type here: openssl pkey removes it"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateFault(KEY, "holds no private key in PEM") from None
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < _MIN_RSA_BITS:
        raise CertificateFault(KEY, f"RSA wants {_MIN_RSA_BITS} bits at least")
    if not isinstance(private, _Key):
        raise CertificateFault(KEY, "browsers want a key of RSA or of ECDSA")
    return private


def _check_match(certificates: list[x509.Certificate], private: _Key) -> None:
    ours = private.public_key()
    if certificates[0].public_key() == ours:
        return
    if any(one.public_key() == ours for one in certificates):
        raise CertificateFault(
            CERTIFICATE, "the page's certificate has to be the first, before its issuers"
        )
    raise CertificateFault(
        KEY, f"is not the key of {_named(certificates[0])} in {CERTIFICATE}: renew both together"
    )


def _check_times(own: x509.Certificate, now: datetime) -> None:
    if now >= own.not_valid_after_utc:
        raise CertificateFault(
            CERTIFICATE, f"{_named(own)} expired on {own.not_valid_after_utc:%Y-%m-%d}: renew it"
        )
    if now < own.not_valid_before_utc:
        raise CertificateFault(
            CERTIFICATE,
            f"{_named(own)} is valid from {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC only, and"
            f" here it is {now.astimezone(UTC):%Y-%m-%d %H:%M}: is this clock right?",
        )


def _named(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(private: _Key) -> bytes:
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
