"""Where files of clients lie in the bucket. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """Keys below one prefix; the namespace comes first, so that a bucket's policy can tell teams apart."""

    bucket: str
    prefix: str = ""
    """With a slash at its end, or empty."""

    def folder(self, namespace: str) -> str:
        """Of all files of a namespace."""
        return f"{self.prefix}{namespace}/files/"

    def content(self, namespace: str, id_: str) -> str:
        """The rows, byte for byte."""
        return f"{self.folder(namespace)}{id_}/content"

    def record(self, namespace: str, id_: str) -> str:
        """What is told of it; written last, so that a file is there when this is."""
        return f"{self.folder(namespace)}{id_}/record.json"

    def uri(self, namespace: str, id_: str) -> str:
        """The rows, for a FineTuneJob."""
        return f"s3://{self.bucket}/{self.content(namespace, id_)}"
