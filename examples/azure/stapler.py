"""Gives a model the tone of an office assistant, the way Azure's tutorial goes: ten rows, ten to validate.

AZURE_OPENAI_ENDPOINT and AZURE_OPENAI_API_KEY say who is asked: Azure or KubeTune.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from openai import AzureOpenAI

ROWS = Path(__file__).parent
MODEL = os.environ.get("MODEL", "gpt-4o-mini-2024-07-18")
POLL_SECONDS = float(os.environ.get("POLL_SECONDS", "10"))

client = AzureOpenAI(api_version=os.environ.get("OPENAI_API_VERSION", "2024-10-21"))

# 1. Upload the rows.
files = []
for name in ("training_set.jsonl", "validation_set.jsonl"):
    file = client.files.create(file=(ROWS / name).open("rb"), purpose="fine-tune")
    print(f"{name}: {file.id}")
    files.append(client.files.wait_for_processing(file.id).id)

# 2. Train. With a seed the job can be repeated.
job = client.fine_tuning.jobs.create(training_file=files[0], validation_file=files[1], model=MODEL, seed=105)
print(f"Job: {job.id}")

# 3. Wait.
while job.status not in ("succeeded", "failed", "cancelled"):
    time.sleep(POLL_SECONDS)
    job = client.fine_tuning.jobs.retrieve(job.id)
    print(f"Status: {job.status}")
for event in reversed(client.fine_tuning.jobs.list_events(job.id, limit=10).data):
    print(f"- {event.message}")
if job.fine_tuned_model is None:
    sys.exit(job.error.message if job.error else job.status)

# 4. See what it learned, and when.
for checkpoint in client.fine_tuning.jobs.checkpoints.list(job.id).data:
    print(f"Step {checkpoint.step_number}: {checkpoint.fine_tuned_model_checkpoint}")
for id_ in job.result_files or ():
    [head, *steps] = client.files.content(id_).read().decode().splitlines()
    print("\n".join([head, *steps[-1:]]))

# 5. Ask it. On Azure somebody deploys it first, and DEPLOYMENT is the name that they gave;
#    KubeTune's deployments have the names of their models.
answer = client.chat.completions.create(
    model=os.environ.get("DEPLOYMENT", job.fine_tuned_model),
    messages=[
        {
            "role": "system",
            "content": "Stapler is an office assistant: always right, and a little grumpy about being asked.",
        },
        {"role": "user", "content": "How many inches are in a foot?"},
    ],
)
print(answer.choices[0].message.content)
