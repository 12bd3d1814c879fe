"""How fast the evaluator asks, beside vLLM's own benchmark client on the demo's server.

The client runs in the server's container, and makes up prompts of as many tokens as the evaluation's had,
with answers as long. It is given several numbers of requests at a time, of which the best counts.
"""

from __future__ import annotations

import re
from typing import Any, Final

from dev.bench.figures import Figure
from dev.demo.run import NAMESPACE, evaluated_rows
from dev.kubectl import Kubectl
from dev.progress import step

PART: Final = "questions"
NAME: Final = "triage-1"
SHARE: Final = 0.9
"""Of the other client's requests per second."""

_AT_ONCE: Final = (4, 16, 64)
_THROUGHPUT: Final = re.compile(r"^Request throughput \(req/s\):\s+([0-9.]+)", re.MULTILINE)

_CLIENT: Final = """
import argparse, sys
from vllm.benchmarks import serve
parser = argparse.ArgumentParser()
serve.add_cli_args(parser)
serve.main(parser.parse_args(sys.argv[1:]))
"""
"""The command line of vLLM itself wants metadata of its package, which the image for CPU has not."""


def measure(kubectl: Kubectl) -> list[Figure]:
    """Compare both for the tuned model and for its base; no figures where the demo's job is not served."""
    job = kubectl.find("finetunejob", NAME, "-n", NAMESPACE)
    found = (job or {}).get("status", {})
    if job is None or "evaluation" not in found or "serving" not in found:
        return []
    rows = evaluated_rows(kubectl, job)
    figures = []
    names = {"Tuned": found["serving"]["modelName"], "Base": found["model"]["uri"].rpartition("/")[2]}
    for candidate in found["evaluation"]["candidates"]:
        if candidate["name"] in names:
            figures += _compared(kubectl, candidate, names[candidate["name"]], rows)
    return figures


def _compared(
    kubectl: Kubectl, candidate: dict[str, Any], model: str, rows: list[dict[str, Any]]
) -> list[Figure]:
    name = candidate["name"]
    answers = [row["candidates"][name] for row in rows]
    tokens = round(sum(answer["completion_tokens"] for answer in answers) / len(answers))
    best = 0.0
    for at_once in _AT_ONCE:
        with step(f"vLLM's client asks {name}, {at_once} at once"):
            prompt = candidate["promptTokens"]
            asked = _asked(kubectl, model, prompt=prompt, answer=tokens, rows=len(rows), at_once=at_once)
        best = max(best, asked)
    own = 1 / float(candidate["secondsPerRequest"])
    return [
        Figure(part=PART, name=f"{name}: the evaluator", value=own, unit="/s"),
        Figure(part=PART, name=f"{name}: vLLM's client", value=best, unit="/s"),
        Figure(part=PART, name=f"{name}: ratio", value=own / best, unit="", bar=SHARE, at_least=True),
    ]


def _asked(kubectl: Kubectl, model: str, *, prompt: int, answer: int, rows: int, at_once: int) -> float:
    """Requests per second of vLLM's client."""
    adapter = f"/output/{_artifact(kubectl)}"
    options = {
        "backend": "openai",
        "base-url": "http://127.0.0.1:8000",
        "model": model,
        "tokenizer": adapter,
        "dataset-name": "random",
        "random-input-len": prompt,
        "random-output-len": answer,
        "num-prompts": rows,
        "max-concurrency": at_once,
        "temperature": 0,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    shell = ["exec", "-n", NAMESPACE, f"deploy/{NAME}", "--", "env", "HOME=/tmp", "TMPDIR=/tmp"]
    said = kubectl(*shell, "python3", "-c", _CLIENT, *arguments, "--ignore-eos", "--disable-tqdm")
    if (found := _THROUGHPUT.search(said)) is None:
        raise RuntimeError(f"vLLM's client says no throughput: {said[-2000:]}")
    return float(found[1])


def _artifact(kubectl: Kubectl) -> str:
    uri: str = kubectl.get("finetunejob", NAME, "-n", NAMESPACE)["status"]["artifact"]["uri"]
    return uri.removeprefix("pvc://").partition("/")[2]
