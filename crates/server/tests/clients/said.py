"""What a client saw of its calls, printed as a JSON array once all of them are made.

Of each: its name, which is also its request id; all that the client got; and what the record must therefore say.
"""

import json
import sys

calls = []


def headers(name):
    return {"x-onrecord-request-id": name, "x-onrecord-session": "client", "x-onrecord-tags": f"call={name}"}


def call(name, got, text=None, finish=None, tokens=None, **record):
    record = {field.replace("__", "."): value for field, value in record.items()}
    if text is not None:
        record["onrecord.output.text"] = text
    if finish is not None:
        record["gen_ai.response.finish_reasons"] = finish
    if tokens is not None:
        record["gen_ai.usage.input_tokens"], record["gen_ai.usage.output_tokens"] = tokens
    calls.append({"name": name, "got": got, "record": record})


def failed(name, error, **record):
    """An error that the model server answered with."""
    call(name, {"error": type(error).__name__, "message": str(error)}, http__response__status_code=error.status_code)


def done():
    json.dump(calls, sys.stdout)


WEATHER = {
    "name": "get_weather",
    "description": "Get the weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
ASK_FOR_TOOL = [{"role": "user", "content": "What is the weather in Paris?"}]
LONG = [{"role": "user", "content": "word " * 6000}]
