"""Teaches a model to name the ingredients of recipes, then asks it about recipes that it has not seen.

The same program works with OpenAI and with KubeTune: OPENAI_API_KEY and OPENAI_BASE_URL say which.
"""

from __future__ import annotations

import base64
import csv
import json
import os
import sys
import time
from pathlib import Path

from openai import OpenAI
from openai.types.fine_tuning import FineTuningJob

ROWS = Path(__file__).parent
MODEL = os.environ.get("MODEL", "gpt-4o-mini-2024-07-18")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "10"))


def main() -> None:
    """From rows to answers."""
    client = OpenAI()
    files = {name: upload(client, ROWS / f"{name}.jsonl") for name in ("train", "validation")}
    job = client.fine_tuning.jobs.create(
        model=MODEL,
        training_file=files["train"],
        validation_file=files["validation"],
        suffix="recipes",
        seed=42,
    )
    job = follow(client, job.id)
    if job.status != "succeeded" or job.fine_tuned_model is None:
        sys.exit(f"{job.id} has ended as {job.status}: {job.error.message if job.error else 'no model'}")
    print(f"{job.trained_tokens} tokens made {job.fine_tuned_model}")
    show_losses(client, job)
    ask(client, job.fine_tuned_model)


def upload(client: OpenAI, path: Path) -> str:
    """Upload a file of rows, and return its id."""
    with path.open("rb") as rows:
        file = client.files.create(file=rows, purpose="fine-tune")
    print(f"{path.name} is {file.id}, {file.bytes} bytes")
    return client.files.wait_for_processing(file.id).id


def follow(client: OpenAI, id_: str) -> FineTuningJob:
    """Print what happens to a job until it has ended."""
    told: set[str] = set()
    while True:
        job = client.fine_tuning.jobs.retrieve(id_)
        # Events come newest first, page by page; the job was read before them, so none of its end is missed.
        for event in reversed([*client.fine_tuning.jobs.list_events(id_, limit=100)]):
            if event.id not in told:
                told.add(event.id)
                print(f"{time.strftime('%H:%M:%S', time.localtime(event.created_at))} {event.message}")
        if job.status in ("succeeded", "failed", "cancelled"):
            return job
        time.sleep(POLL_SECONDS)


def show_losses(client: OpenAI, job: FineTuningJob) -> None:
    """Print the first and the last loss of the result file."""
    for id_ in job.result_files:
        content = client.files.content(id_).read()
        if not content.startswith(b"step"):  # OpenAI encodes it
            content = base64.b64decode(content)
        steps = [*csv.DictReader(content.decode().splitlines())]
        losses = [float(step["train_loss"]) for step in steps if step["train_loss"]]
        print(f"{len(steps)} steps took the loss from {losses[0]:.2f} to {losses[-1]:.2f}")


def ask(client: OpenAI, model: str) -> None:
    """Ask about each recipe of the validation rows, and count the answers that are right."""
    rows = [json.loads(line)["messages"] for line in (ROWS / "validation.jsonl").open()]
    right = 0
    for *question, wanted in rows:
        answer = client.chat.completions.create(
            model=model, messages=question, temperature=0, max_tokens=500
        ).choices[0]
        right += answer.message.content == wanted["content"]
    print(f"The last answer was {answer.message.content}")
    print(f"{right} of {len(rows)} answers are exactly right")


if __name__ == "__main__":
    main()
