"""AWS Secrets Manager for tests: moto's server, one a process, started when the first test needs it."""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from functools import cache
from typing import Any, Final

import botocore.session
import requests

from sidecar.config.remotes import AwsSection
from tests.e2e.house import comes_true, free_port

REGION: Final = "eu-west-1"
IDENTITY: Final = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-real-key"}


class Aws:
    """``endpoint`` is plain http on loopback."""

    def __init__(self) -> None:
        port = free_port()
        self.endpoint = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], **IDENTITY},
        )
        atexit.register(self.stop)
        assert comes_true(self._is_up)
        self.client: Any = botocore.session.get_session().create_client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id="AKIDEXAMPLE",
            aws_secret_access_key="not-a-real-key",
        )
        self._alone = threading.Lock()

    def _is_up(self) -> bool:
        try:
            return requests.get(f"{self.endpoint}/moto-api/", timeout=30).status_code == 200
        except requests.ConnectionError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def put(self, name: str, value: str | dict[str, str]) -> str:
        """Create a secret, or give it a new current version; the version's id."""
        text = value if isinstance(value, str) else json.dumps(value)
        with self._alone:
            try:
                made = self.client.create_secret(Name=name, SecretString=text)
            except self.client.exceptions.ResourceExistsException:
                made = self.client.put_secret_value(SecretId=name, SecretString=text)
        return str(made["VersionId"])

    def delete(self, name: str) -> None:
        self.client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)

    def section(self, **more: Any) -> AwsSection:
        """Settings of a sidecar that uses it."""
        return AwsSection(**({"region": REGION, "endpoint": self.endpoint} | more))


@cache
def server() -> Aws:
    """The server of this process."""
    return Aws()
