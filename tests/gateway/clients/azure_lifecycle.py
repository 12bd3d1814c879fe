"""A fine-tune with AzureOpenAI of any version: its paths, its key's header, chat by a deployment's name."""

import json
import os
import time

import openai

ROWS = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 12

client = openai.AzureOpenAI(api_version="2024-10-21", max_retries=0)
file = client.files.create(file=("training_set.jsonl", b"\xef\xbb\xbf" + ROWS), purpose="fine-tune")
job = client.fine_tuning.jobs.create(model="gpt-4o-mini", training_file=file.id, seed=105)
end = time.monotonic() + 60
while (job := client.fine_tuning.jobs.retrieve(job.id)).status not in ("succeeded", "failed"):
    assert time.monotonic() < end, job.status
    time.sleep(0.05)
assert (job.status, job.seed) == ("succeeded", 105)
assert json.loads(client.fine_tuning.jobs.list_events(job.id, limit=10).model_dump_json())["data"]
assert job.id in [each.id for each in client.fine_tuning.jobs.list(limit=100)]
assert [each.step_number for each in client.fine_tuning.jobs.checkpoints.list(job.id)] == [4, 2]
while not (results := client.fine_tuning.jobs.retrieve(job.id).result_files):
    assert time.monotonic() < end
    time.sleep(0.05)
assert client.files.content(results[0]).read().startswith(b"step,train_loss,")

question = [{"role": "user", "content": "How are you?"}]
answer = client.chat.completions.create(model=job.fine_tuned_model, messages=question)
assert answer.choices[0].message.content
deployed = openai.AzureOpenAI(api_version="2024-10-21", azure_deployment=job.fine_tuned_model)
pieces = [*deployed.chat.completions.create(model="any", messages=question, stream=True)]
assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
newer = openai.OpenAI(base_url=f"{os.environ['AZURE_OPENAI_ENDPOINT']}/openai/v1/", api_key=client.api_key)
assert newer.fine_tuning.jobs.retrieve(job.id).status == "succeeded"
print(openai.__version__, job.fine_tuned_model)
