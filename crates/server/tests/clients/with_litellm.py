"""The `litellm` package: python with_litellm.py http://HOST:PORT"""

import asyncio
import os
import sys

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402

from said import QUESTION, call, done, headers  # noqa: E402

litellm.telemetry = False
common = {
    "model": "openai/tiny-pydoc", "api_base": sys.argv[1] + "/v1", "api_key": "none", "messages": QUESTION,
    "temperature": 0, "max_tokens": 24, "num_retries": 0,
}


def seen(name, answer):
    choice, usage = answer.choices[0], answer.usage
    tokens = (usage.prompt_tokens, usage.completion_tokens)
    call(name, answer.model_dump(), choice.message.content, [choice.finish_reason], tokens)


seen("chat", litellm.completion(**common, extra_headers=headers("chat")))
seen("chat-async", asyncio.run(litellm.acompletion(**common, extra_headers=headers("chat-async"))))
chunks = list(litellm.completion(**common, stream=True, extra_headers=headers("chat-stream")))
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
call("chat-stream", [chunk.model_dump() for chunk in chunks], text, ["stop"])
done()
