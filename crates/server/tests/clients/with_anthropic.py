"""The `anthropic` package: python with_anthropic.py http://HOST:PORT"""

import sys

import anthropic

from said import ASK_FOR_TOOL, LONG, QUESTION, WEATHER, call, done, failed, headers

client = anthropic.Anthropic(base_url=sys.argv[1], api_key="none", max_retries=0)
common = {"model": "tiny-pydoc", "max_tokens": 24, "messages": QUESTION, "extra_body": {"temperature": 0}}
tool = {"name": WEATHER["name"], "description": WEATHER["description"], "input_schema": WEATHER["parameters"]}


def seen(name, message, got):
    text = "".join(block.text for block in message.content if block.type == "text") or None
    call(name, got, text, [message.stop_reason], (message.usage.input_tokens, message.usage.output_tokens))


def messages(name, **options):
    message = client.messages.create(**(common | options), extra_headers=headers(name))
    seen(name, message, message.model_dump())


def messages_stream(name, **options):
    with client.messages.stream(**(common | options), extra_headers=headers(name)) as stream:
        events = [event.model_dump(warnings=False) for event in stream]
        seen(name, stream.get_final_message(), events)


def refused(name):
    try:
        messages(name, messages=LONG)
    except anthropic.APIStatusError as error:
        return failed(name, error)
    raise AssertionError("a prompt beyond the context was taken")


messages("messages")
messages_stream("messages-stream")
messages_stream("messages-stream-cut", max_tokens=3)
messages("messages-tool", messages=ASK_FOR_TOOL, tools=[tool], max_tokens=120)
refused("messages-refused")
done()
