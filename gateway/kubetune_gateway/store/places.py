"""Where things of clients lie in the bucket. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """Keys below one prefix; the namespace comes first, so that a bucket's policy can tell teams apart.

    What belongs to no namespace begins with an underscore, which the name of none has.
    """

    bucket: str
    prefix: str = ""
    """With a slash at its end, or empty."""

    def folder(self, namespace: str) -> str:
        """Of all files of a namespace."""
        return f"{self.prefix}{namespace}/files/"

    def content(self, namespace: str, id_: str) -> str:
        """The rows, byte for byte; prepare knows by the end of its name what a file is."""
        return f"{self.folder(namespace)}{id_}/content.jsonl"

    def record(self, namespace: str, id_: str) -> str:
        """What is told of it; written last, so that a file is there when this is."""
        return f"{self.folder(namespace)}{id_}/record.json"

    def uri(self, namespace: str, id_: str) -> str:
        """The rows, for a FineTuneJob."""
        return f"s3://{self.bucket}/{self.content(namespace, id_)}"

    def uploads(self, namespace: str) -> str:
        """Folder of all uploads in parts of a namespace."""
        return f"{self.prefix}{namespace}/uploads/"

    def upload(self, namespace: str, id_: str) -> str:
        """Folder of an upload in parts."""
        return f"{self.uploads(namespace)}{id_}/"

    def jobs(self, namespace: str) -> str:
        """Folder of the records of a namespace's jobs, and of nothing else: one list has them all."""
        return f"{self.prefix}{namespace}/jobs/"

    def job_record(self, namespace: str, uid: str) -> str:
        """A job as it was seen last; the recorder writes it."""
        return f"{self.jobs(namespace)}{uid}.json"

    def job_cancelled(self, namespace: str, uid: str) -> str:
        """That a client has cancelled it, and the job as it was then; never written again."""
        return f"{self.jobs(namespace)}{uid}.cancelled.json"

    def job(self, namespace: str, uid: str) -> str:
        """Folder of what else is kept of one job."""
        return f"{self.prefix}{namespace}/job-data/{uid}/"

    def job_steps(self, namespace: str, uid: str) -> str:
        """Folder of what was measured."""
        return f"{self.job(namespace, uid)}steps/"

    def job_webhooks(self, namespace: str, uid: str) -> str:
        """Folder of what was delivered."""
        return f"{self.job(namespace, uid)}webhooks/"

    def completions(self, namespace: str) -> str:
        """Folder of stored completions."""
        return f"{self.prefix}{namespace}/completions/"

    def key(self, digest: str) -> str:
        """What an API key stands for; ``digest`` is its SHA-256 in hex."""
        return f"{self.keys()}{digest}.json"

    def keys(self) -> str:
        """Folder of all API keys."""
        return f"{self.prefix}_keys/"
