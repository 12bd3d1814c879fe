"""LlamaIndex's fine-tuning engine: a file, a job, and the model as an LLM of LlamaIndex."""

import sys
import time

from llama_index.finetuning import OpenAIFinetuneEngine

# Its own look at the rows would fetch a tokeniser.
engine = OpenAIFinetuneEngine("gpt-4o-mini", sys.argv[1], validate_json=False)
engine.finetune()
end = time.monotonic() + 60
while (job := engine.get_current_job()).status != "succeeded":
    assert time.monotonic() < end, job.status
    time.sleep(0.05)
llm = engine.get_finetuned_model(max_tokens=5)
assert llm.model == job.fine_tuned_model
assert llm.complete("How are you?").text
print("llama-index", llm.model)
