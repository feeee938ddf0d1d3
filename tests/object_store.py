"""An S3 server on loopback: moto's, which keeps objects in memory as S3 would keep them for good."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

BUCKET = "bucket"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "of-no-use"}


@contextmanager
def server() -> Iterator[str]:
    """Its endpoint; within it the environment carries credentials, and there is a bucket."""
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in CREDENTIALS.items():
                patch.setenv(name, value)
            host, port = moto.get_host_and_port()
            endpoint = f"http://{host}:{port}"
            options = {"endpoint_override": endpoint, "region": "us-east-1"}
            S3FileSystem(**options, allow_bucket_creation=True).create_dir(BUCKET)
            yield endpoint
    finally:
        moto.stop()


def uri(endpoint: str, path: str, bucket: str = BUCKET) -> str:
    return f"s3://{bucket}/{path}?region=us-east-1&endpoint_override={endpoint}"
