"""Teaches a small model what a large one answers: answers are stored, become rows, and a job trains on them.

LARGE is a model that is asked, MODEL one that is fine-tuned. Rows of stored answers are KubeTune's own call;
with OpenAI one makes them in its dashboard.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from pathlib import Path

from openai import OpenAI
from openai.types import FileObject

LARGE = os.environ.get("LARGE", "gpt-4o-2024-08-06")
MODEL = os.environ.get("MODEL", "gpt-4o-mini-2024-07-18")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "10"))
QUESTIONS = Path(__file__).with_name("train.jsonl")

client = OpenAI()
run = {"run": uuid.uuid4().hex}

# 1. Ask the large model, and have its answers stored.
for line in QUESTIONS.open():
    *question, _ = json.loads(line)["messages"]
    client.chat.completions.create(
        model=LARGE, messages=question, temperature=0, max_tokens=500, store=True, metadata=run
    )
print(len([*client.chat.completions.list(metadata=run)]), "answers are stored")

# 2. Make rows of them. Answers that were cut off are left out.
rows = client.post("/chat/datasets", body={"metadata": run}, cast_to=FileObject)
print("File:", rows.id, rows.bytes, "bytes")

# 3. Train the small model on them.
job = client.fine_tuning.jobs.create(model=MODEL, training_file=rows.id, suffix="distilled")
print("Job:", job.id)
while job.status not in ("succeeded", "failed", "cancelled"):
    time.sleep(POLL_SECONDS)
    job = client.fine_tuning.jobs.retrieve(job.id)
if job.fine_tuned_model is None:
    sys.exit(job.error.message if job.error else job.status)
print("Model:", job.fine_tuned_model)
