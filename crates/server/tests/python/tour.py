"""Calls a model through onrecord with the `openai` package and prints what went over the wire.

    python tour.py http://127.0.0.1:4100/v1 MODEL

Prints a JSON array: for each call its name, the id of its record, and what was sent and received, byte for byte.
"""

import base64
import json
import sys

import openai

# The HTTP library that this version of the client is built on.
http = sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.split(".")[0]]


class Copied(http.SyncByteStream):
    """A body that is copied while it is read."""

    def __init__(self, inner, copy):
        self.inner, self.copy = inner, copy

    def __iter__(self):
        for piece in self.inner:
            self.copy.extend(piece)
            yield piece

    def close(self):
        self.inner.close()


class Wire(http.BaseTransport):
    """Keeps the last exchange."""

    def __init__(self):
        self.inner = http.HTTPTransport()
        self.sent, self.received, self.head = b"", bytearray(), {}

    def handle_request(self, request):
        self.sent, self.received = request.read(), bytearray()
        response = self.inner.handle_request(request)
        self.status, self.head = response.status_code, response.headers
        response.stream = Copied(response.stream, self.received)
        return response

    def close(self):
        self.inner.close()


def main(base_url, model):
    wire = Wire()
    client = openai.OpenAI(
        base_url=base_url, api_key="sk-of-the-model", max_retries=0, http_client=http.Client(transport=wire)
    )
    calls = []

    def call(name, question, use, **options):
        headers = {
            "x-onrecord-session": "python-1",
            "x-onrecord-request-id": f"request-{name}",
            "x-onrecord-tags": f"app=python,kind={name}",
            "x-onrecord-user": "user-1",
        }
        messages = [{"role": "user", "content": question}]
        options = {"model": model, "messages": messages, "temperature": 0, "extra_headers": headers} | options
        text = use(client.chat.completions, options)
        calls.append(
            {
                "name": name,
                "id": wire.head["x-onrecord-id"],
                "status": wire.status,
                "sent": base64.b64encode(wire.sent).decode(),
                "received": base64.b64encode(bytes(wire.received)).decode(),
                "text": text,
            }
        )

    def whole(completions, options):
        return completions.create(**options).choices[0].message.content

    def contents(stream):
        return (choice.delta.content or "" for chunk in stream for choice in chunk.choices)

    def streamed(completions, options):
        options = options | {"stream": True, "stream_options": {"include_usage": True}}
        return "".join(contents(completions.create(**options)))

    def cancelled(completions, options):
        # Whoever hangs up has read some of the text, and the model is still at it.
        with completions.create(**options, stream=True) as stream:
            pieces = contents(stream)
            return "".join(next(pieces) for _ in range(4))

    def refused(completions, options):
        try:
            completions.create(**options)
        except openai.APIStatusError as error:
            return error.message
        raise AssertionError("the model took what it should have refused")

    # A number above 2^53 and text beyond ASCII must come back as they were written.
    exact = {"metadata": {"big": 12345678901234567890, "name": "Zoë ☕"}}
    call("whole", "Hello!", whole, extra_body=exact)
    call("logprobs", "What is the capital of France?", whole, logprobs=True, top_logprobs=2)
    call("streamed", "What is the capital of France?", streamed)
    call("streamed-long", "Tell me about strings.", streamed, temperature=1.5, seed=3, max_tokens=60)
    call("cancelled", "Tell me about files.", cancelled, temperature=1.9, seed=5, max_tokens=1900)
    call("refused", "Hello!", refused, model="no-such-model")
    json.dump(calls, sys.stdout)


main(*sys.argv[1:])
