"""DSPy trains a model by its OpenAI provider, and asks it."""

import sys

import dspy
from dspy.clients.openai import OpenAIProvider
from dspy.clients.utils_finetune import TrainDataFormat

OpenAIProvider.wait_for_job.__defaults__ = (0.05,)  # seconds between two looks; else 20

ROWS = [
    {"messages": [{"role": "user", "content": f"{n} + 1"}, {"role": "assistant", "content": f"{n + 1}"}]}
    for n in range(12)
]
lm = dspy.LM("openai/gpt-4o-mini", provider=OpenAIProvider(), cache=False)
job = lm.finetune(ROWS, TrainDataFormat.CHAT, {"n_epochs": 2})
tuned = job.result(timeout=60)
if isinstance(tuned, Exception):
    raise tuned
[answer] = tuned("2 + 1", max_tokens=5)
assert answer
print(f"dspy {dspy.__version__}", tuned.model, file=sys.stdout)
