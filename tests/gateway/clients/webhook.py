"""A receiver of webhooks, with the part of OpenAI's client that checks who sent them."""

import json
import sys
from pathlib import Path

import openai

got = json.loads(Path(sys.argv[1]).read_text())
webhooks = openai.OpenAI(webhook_secret=got["secret"]).webhooks
event = webhooks.unwrap(got["payload"], got["headers"])
print(event.type, event.data.id)
try:
    webhooks.unwrap(got["payload"].replace("ftjob-1", "ftjob-2"), got["headers"])
    raise AssertionError("what somebody else has written was believed")
except openai.InvalidWebhookSignatureError:
    pass
