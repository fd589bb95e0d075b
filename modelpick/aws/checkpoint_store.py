"""Checkpoints in a bucket: the Store that `modelpick finetune --checkpoint-to s3://bucket/prefix` uses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelpick.errors import RemoteError, UsageError
from modelpick.extras import require
from modelpick.training.checkpoints import Store, open_folder


@dataclass(frozen=True, slots=True)
class BucketStore:
    """Objects under one prefix of one bucket. boto3 finds credentials and endpoint."""

    client: Any
    bucket: str
    prefix: str

    def put(self, file: Path, name: str) -> None:
        """Copy a file there under `name`. Raises RemoteError."""
        self._call("keep", self.client.upload_file, str(file), self.bucket, self.prefix + name)

    def get(self, name: str, file: Path) -> None:
        """Copy `name` from there to a file. Raises RemoteError."""
        self._call("fetch", self.client.download_file, self.bucket, self.prefix + name, str(file))

    def names(self) -> list[str]:
        """Everything under the prefix, without it. Raises RemoteError."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix)
        found = self._call("list", lambda: [entry["Key"] for page in pages for entry in page.get("Contents", ())])
        return [key.removeprefix(self.prefix) for key in found]

    def delete(self, name: str) -> None:
        """Remove one object. Raises RemoteError."""
        self._call("remove", self.client.delete_object, Bucket=self.bucket, Key=self.prefix + name)

    def _call(self, what: str, function: Any, *arguments: Any, **names: Any) -> Any:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return function(*arguments, **names)
        except (Boto3Error, BotoCoreError, ClientError) as error:
            raise RemoteError(
                f"cannot {what} checkpoints in s3://{self.bucket}/{self.prefix}: {error}",
                fix="check the bucket's name and the credentials; continue a started run with --resume",
                code="checkpoint_store",
            ) from None


def open_bucket(address: str) -> BucketStore:
    """The store of `s3://bucket/prefix`. Raises UsageError for an address of another form."""
    require("aws", "boto3")
    import boto3

    bucket, _, prefix = address.removeprefix("s3://").partition("/")
    if not address.startswith("s3://") or not bucket:
        raise UsageError(f"{address!r} is not a bucket", fix="give it like s3://bucket/prefix", code="bad_store")
    return BucketStore(boto3.client("s3"), bucket, f"{prefix.rstrip('/')}/" if prefix.strip("/") else "")


def open_store(address: str) -> Store:
    """The store an address means: `s3://bucket/prefix`, otherwise a folder."""
    return open_bucket(address) if address.startswith("s3://") else open_folder(address)
