"""The `openai` package: python with_openai.py http://HOST:PORT llama.cpp|demo"""

import asyncio
import sys

import openai

from said import ASK_FOR_TOOL, LONG, QUESTION, WEATHER, call, done, failed, headers

base, server = sys.argv[1:]
key = {"base_url": base + "/v1", "api_key": "sk-none", "max_retries": 0}
client = openai.OpenAI(**key)
common = {"model": "tiny-pydoc", "temperature": 0}


def chat(name, **options):
    options = common | {"messages": QUESTION, "max_tokens": 24} | options
    answer = client.chat.completions.create(**options, extra_headers=headers(name))
    text = "\n".join(choice.message.content or "" for choice in answer.choices) or None
    tokens = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    call(name, answer.model_dump(), text, [choice.finish_reason for choice in answer.choices], tokens)


def chat_stream(name, **options):
    options = common | {"messages": QUESTION, "max_tokens": 24, "stream": True} | options
    chunks = list(client.chat.completions.create(**options, extra_headers=headers(name)))
    choices = [choice for chunk in chunks for choice in chunk.choices]
    text = "".join(choice.delta.content or "" for choice in choices) or None
    finish = [choice.finish_reason for choice in choices if choice.finish_reason]
    usage = next((chunk.usage for chunk in chunks if chunk.usage), None)
    tokens = usage and (usage.prompt_tokens, usage.completion_tokens)
    call(name, [chunk.model_dump() for chunk in chunks], text, finish, tokens)


def responses(name, **options):
    options = common | {"input": "What is the capital of France?", "max_output_tokens": 24} | options
    answer = client.responses.create(**options, extra_headers=headers(name))
    if not options.get("stream"):
        return call(name, answer.model_dump(), answer.output_text, None, tokens_of(answer))
    events = list(answer)
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    return call(name, [event.model_dump() for event in events], text, None, tokens_of(events[-1].response))


def tokens_of(response):
    return response.usage.input_tokens, response.usage.output_tokens


def completion(name, **options):
    options = common | {"prompt": "import os", "max_tokens": 12} | options
    answer = client.completions.create(**options, extra_headers=headers(name))
    chunks = list(answer) if options.get("stream") else [answer]
    choices = [choice for chunk in chunks for choice in chunk.choices]
    finish = [choice.finish_reason for choice in choices if choice.finish_reason]
    call(name, [chunk.model_dump() for chunk in chunks], "".join(choice.text for choice in choices), finish)


def refused(name):
    try:
        chat(name, messages=LONG)
    except openai.APIStatusError as error:
        return failed(name, error)
    raise AssertionError("a prompt beyond the context was taken")


async def cancelled(name):
    """Hangs up in the middle of a stream that would have gone on."""
    options = common | {"messages": QUESTION, "max_tokens": 1900, "stream": True}
    options |= {"extra_body": {"ignore_eos": True}} if server == "llama.cpp" else {"temperature": 1.9, "seed": 5}
    client = openai.AsyncOpenAI(**key)
    read = []
    async with await client.chat.completions.create(**options, extra_headers=headers(name)) as stream:
        async for chunk in stream:
            read += [choice.delta.content for choice in chunk.choices if choice.delta.content]
            if len(read) == 3:
                break
    await client.close()
    call(name, read, onrecord__outcome="client_disconnected")


tool = {"tools": [{"type": "function", "function": WEATHER}]}
chat("chat")
chat("chat-logprobs", logprobs=True, top_logprobs=2)
chat_stream("chat-stream", stream_options={"include_usage": True})
chat_stream("chat-stream-logprobs", logprobs=True, top_logprobs=2)
chat_stream("chat-stream-cut", max_tokens=3)
refused("chat-refused")
asyncio.run(cancelled("chat-cancelled"))
if server == "llama.cpp":
    chat("chat-tool", **tool, messages=ASK_FOR_TOOL, max_tokens=120)
    chat_stream("chat-stream-tool", **tool, messages=ASK_FOR_TOOL, max_tokens=120)
    chat("chat-n2", n=2)
    responses("responses")
    responses("responses-stream", stream=True)
    completion("completion")
    completion("completion-stream", stream=True)
done()
