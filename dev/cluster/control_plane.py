"""Runs an API server with etcd, controllers and scheduler, as one instance in a folder of its own.

The cluster has one, and tests and benchmarks start others beside it: no folder or port is fixed here.
"""

import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from dev.cluster import control_plane_programs as programs
from dev.cluster import processes, temporary
from dev.cluster.binaries import ensure_binaries
from dev.cluster.control_plane_programs import Instance, NodeNetwork
from dev.cluster.pki import Authority, Identity
from dev.cluster.ports import Ports
from dev.cluster.probes import answers
from dev.cluster.waiting import wait_for

_ADMIN = Identity(name="admin", user="admin", group="system:masters")


class ControlPlane:
    """One instance. As a context manager it is started on entry, and stopped and deleted on exit."""

    def __init__(
        self,
        root: Path,
        *,
        listen: Ports,
        network: NodeNetwork | None = None,
        client_qps: int | None = None,
        admission: Sequence[str] = (),
    ) -> None:
        """Describe an instance; nothing runs yet.

        `client_qps` lifts the rate at which controllers and scheduler may call the API server: benchmarks
        need it. `admission` are admission plugins beside the default ones.
        """
        self.instance = Instance(
            root=root,
            ports=listen,
            binaries=ensure_binaries(),
            authority=Authority(root / "pki"),
            network=network,
            client_qps=client_qps,
            admission=admission,
        )
        self.url = self.instance.url
        self.audit_log = self.instance.audit_log
        self.kubeconfig = self.instance.kubeconfig(_ADMIN)
        self._etcd = programs.etcd(self.instance)
        self._apiserver = programs.apiserver(self.instance)
        self._clients = [programs.controller_manager(self.instance), programs.scheduler(self.instance)]

    @classmethod
    def temporary(cls, *, client_qps: int | None = None, admission: Sequence[str] = ()) -> Self:
        """Describe an instance in a temporary folder, on free ports."""
        return cls(temporary.folder(), listen=Ports.free(), client_qps=client_qps, admission=admission)

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.ensure()
        except BaseException:
            self.delete()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop and delete it."""
        self.delete()

    def ensure(self) -> None:
        """Start what does not run, and return when the API server is ready."""
        self._etcd.ensure()
        self.start_apiserver()
        for client in self._clients:
            client.ensure()

    def delete(self) -> None:
        """Stop all programs at once, and delete their state."""
        processes.kill_marked(self.instance.root)
        shutil.rmtree(self.instance.root, ignore_errors=True)

    def stop_apiserver(self) -> None:
        """Take the API server away, at once, as a crash does."""
        self._apiserver.stop(seconds=0)

    def start_apiserver(self) -> None:
        """Bring the API server back, and return when it is ready."""
        self._apiserver.ensure()
        self.wait_until_ready()

    def pause_etcd(self) -> None:
        """Make every request to the API server hang."""
        self._etcd.signal(signal.SIGSTOP)

    def resume_etcd(self) -> None:
        """Undo `pause_etcd`."""
        self._etcd.signal(signal.SIGCONT)

    @contextmanager
    def paused_etcd(self) -> Iterator[None]:
        """Make every request to the API server hang while the block runs."""
        self.pause_etcd()
        try:
            yield
        finally:
            self.resume_etcd()

    def wait_until_ready(self, *, seconds: float = 120) -> None:
        """Return when the API server says that it is ready."""
        wait_for(f"the API server at {self.url}", self._is_ready, seconds=seconds)

    def _is_ready(self) -> bool:
        self._etcd.check()
        return answers(self._apiserver, f"{self.url}/readyz", authority=self.instance.authority.certificate)
