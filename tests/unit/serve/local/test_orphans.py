import tempfile
from pathlib import Path

import pytest

from serve.local.orphans import folder_of_rays


def test_rays_are_where_the_sockets_paths_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/mem")
    assert folder_of_rays() == Path("/mem")
    monkeypatch.setattr(tempfile, "tempdir", "/var/folders/zz/zyxvpxvq6csfxvn_n0000000000000/T")
    assert folder_of_rays() == Path("/tmp")
