"""Certificates for the page, in the two files that its settings name."""

from pathlib import Path

from ingest.embedded.certificates import CertificateAuthority

BEGIN = "-----BEGIN CERTIFICATE-----"


def renew(authority: CertificateAuthority, folder: Path) -> tuple[Path, Path]:
    """Put a new certificate and its key into the folder; return both paths."""
    key, begin, certificate = authority.issue("page").read_text().partition(BEGIN)
    paths = folder / "chain.pem", folder / "key.pem"
    paths[0].write_text(begin + certificate)
    paths[1].touch(mode=0o600)
    paths[1].write_text(key)
    return paths
