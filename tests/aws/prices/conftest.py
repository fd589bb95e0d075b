"""The stand-in for AWS, with credentials that only it accepts."""

from collections.abc import Iterator

import pytest

from tests.stand_ins.aws import Aws, serving


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    pytest.importorskip("boto3", reason="needs the extra aws")
    with serving() as state:
        monkeypatch.setenv("AWS_ENDPOINT_URL", state.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        yield state
