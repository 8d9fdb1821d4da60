"""The `langchain-openai` package: python with_langchain.py http://HOST:PORT"""

import sys

from langchain_openai import ChatOpenAI

from said import ASK_FOR_TOOL, WEATHER, call, done, headers


def model(name, **options):
    options = {"temperature": 0, "max_tokens": 24} | options
    return ChatOpenAI(
        base_url=sys.argv[1] + "/v1", api_key="none", model="tiny-pydoc", default_headers=headers(name), **options
    )


def seen(name, message, got):
    usage = message.usage_metadata
    tokens = usage and (usage["input_tokens"], usage["output_tokens"])
    call(name, got, message.content or None, [message.response_metadata["finish_reason"]], tokens)


question = "What is the capital of France?"
answer = model("chat").invoke(question)
seen("chat", answer, answer.model_dump())
chunks = list(model("chat-stream", stream_usage=True).stream(question))
whole = chunks[0]
for chunk in chunks[1:]:
    whole = whole + chunk
seen("chat-stream", whole, [chunk.model_dump() for chunk in chunks])
tools = [{"type": "function", "function": WEATHER}]
answer = model("chat-tool", max_tokens=120).bind_tools(tools).invoke(ASK_FOR_TOOL)
seen("chat-tool", answer, answer.model_dump())
done()
