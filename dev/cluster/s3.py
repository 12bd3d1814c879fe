"""Runs an S3 endpoint for models and datasets: a real gateway over a folder, which pods reach too."""

from dataclasses import dataclass
from pathlib import Path

from dev import paths
from dev.cluster import binaries, ports
from dev.cluster.network import NODE_ADDRESS
from dev.cluster.probes import answers
from dev.cluster.processes import Daemon
from dev.cluster.waiting import wait_for

OPENAI_BUCKET = "openai"  # the gateway's
BUCKETS = ("models", "datasets", OPENAI_BUCKET)
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
_VERSION = "v1.8.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Endpoint:
    """How to use the endpoint, from this machine and from pods alike."""

    url: str = f"http://{NODE_ADDRESS}:{ports.S3}"
    access_key: str = "kubetune"
    secret_key: str = "kubetune-secret"
    region: str = "us-east-1"


def gateway_is_built() -> bool:
    """Tell whether `build_gateway` has nothing to do."""
    return binaries.locate_module(_PACKAGE, _VERSION).exists()


def build_gateway() -> Path:
    """Return the gateway's program, built if need be: about two minutes."""
    return binaries.ensure_module(_PACKAGE, _VERSION)


def ensure_s3(root: Path) -> S3Endpoint:
    """Start the endpoint unless it runs, and return it when it answers and has its buckets."""
    served = S3Endpoint()
    for bucket in BUCKETS:  # to this gateway a bucket is a folder
        (paths.s3_data() / bucket).mkdir(parents=True, exist_ok=True)
    daemon = Daemon(
        name="s3",
        root=root,
        argv=[
            build_gateway(),
            f"--port={NODE_ADDRESS}:{ports.S3}",
            f"--region={served.region}",
            "--health=/health",
            "posix",
            paths.s3_data(),
        ],
        env={"ROOT_ACCESS_KEY": served.access_key, "ROOT_SECRET_KEY": served.secret_key},
    )
    daemon.ensure()
    wait_for("the S3 endpoint", lambda: answers(daemon, f"{served.url}/health"), seconds=30)
    return served
