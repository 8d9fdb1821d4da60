"""The `ollama` package: python with_ollama.py http://HOST:PORT"""

import sys

import ollama

from said import call, done, headers

common = {"model": "qwen3:0.6b"}
question = [{"role": "user", "content": "Why is the sky blue?"}]


def client(name):
    return ollama.Client(host=sys.argv[1], headers=headers(name))


def seen(name, parts, text):
    last = parts[-1]
    finish = [last.done_reason] if last.done_reason else None
    tokens = (last.prompt_eval_count, last.eval_count)
    call(name, [part.model_dump() for part in parts], "".join(text(part) or "" for part in parts), finish, tokens)


def said(part):
    return part.message.content


seen("chat", [client("chat").chat(**common, messages=question)], said)
seen("chat-stream", list(client("chat-stream").chat(**common, messages=question, stream=True)), said)
seen("generate", [client("generate").generate(**common, prompt="Why?")], lambda part: part.response)
parts = list(client("generate-stream").generate(**common, prompt="Why?", stream=True))
seen("generate-stream", parts, lambda part: part.response)
vectors = client("embed").embed(**common, input=["one", "two"])
call("embed", vectors.model_dump(), onrecord__embeddings__count=len(vectors.embeddings))
done()
