"""The shortest way to a model of one's own: ten rows, a job, its events, and both models asked the same.

OPENAI_API_KEY and OPENAI_BASE_URL say who is asked: OpenAI or KubeTune.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from openai import OpenAI

MODEL = os.environ.get("MODEL", "gpt-4o-mini-2024-07-18")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "10"))
ROWS = Path(__file__).with_name("couplets.jsonl")

client = OpenAI()

# 1. Upload the rows.
training_file = client.files.create(file=ROWS.open("rb"), purpose="fine-tune")
print("File:", training_file.id)

# 2. Make the job.
job = client.fine_tuning.jobs.create(training_file=training_file.id, model=MODEL)
print("Job:", job.id, job.status)

# 3. Wait for it.
print("The last jobs:", [each.id for each in client.fine_tuning.jobs.list(limit=10).data])
while job.status not in ("succeeded", "failed", "cancelled"):
    time.sleep(POLL_SECONDS)
    job = client.fine_tuning.jobs.retrieve(job.id)
    print(job.status)
for event in reversed(client.fine_tuning.jobs.list_events(job.id, limit=10).data):
    print("-", event.message)
if job.fine_tuned_model is None:
    raise SystemExit(job.error.message if job.error else job.status)

# 4. Ask the base model and the new one the same.
[system, *_] = json.loads(ROWS.open().readline())["messages"]
question = {"role": "user", "content": "Does Venus have a moon?"}
for model in (MODEL, job.fine_tuned_model):
    answer = client.chat.completions.create(model=model, messages=[system, question])
    print(f"\n{model}:\n{answer.choices[0].message.content}")
