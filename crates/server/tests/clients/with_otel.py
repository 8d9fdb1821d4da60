"""The `openai` package under an OpenTelemetry instrumentation:

python with_otel.py openai-v2|genai-openai|openllmetry|openinference http|grpc ENDPOINT MODEL STAND_IN GATEWAY|-

MODEL is the demo model, STAND_IN a server that calls tools and embeds, GATEWAY one in front of both, if there is one; ENDPOINT is where spans
go. Each call is made within a span of the application, which has its name.
"""

import json
import os
import sys

import openai
from opentelemetry import trace
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from said import ASK_FOR_TOOL, LONG, QUESTION, WEATHER

instrumentation, protocol, endpoint, model, stand_in, gateway = sys.argv[1:]
calls = []


def exporter():
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=endpoint, insecure=True)
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=endpoint + "/v1/traces")


def log_exporter():
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter

        return OTLPLogExporter(endpoint=endpoint, insecure=True)
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    return OTLPLogExporter(endpoint=endpoint + "/v1/logs")


if os.environ.get("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT") == "event_only":
    from opentelemetry import _logs
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor

    logs = LoggerProvider()
    logs.add_log_record_processor(SimpleLogRecordProcessor(log_exporter()))
    _logs.set_logger_provider(logs)
provider = TracerProvider(resource=Resource.create({"service.name": instrumentation}))
provider.add_span_processor(BatchSpanProcessor(exporter()))
trace.set_tracer_provider(provider)
tracer = trace.get_tracer("shop")
if instrumentation == "openai-v2":
    from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
elif instrumentation == "genai-openai":
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
elif instrumentation == "openllmetry":
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor
else:
    from openinference.instrumentation.openai import OpenAIInstrumentor
OpenAIInstrumentor().instrument()
HTTPX2ClientInstrumentor().instrument()


def seen(name, span, text=None, finish=None, usage=None, tools=None):
    tokens = usage and [usage.prompt_tokens, getattr(usage, "completion_tokens", None)]
    trace_id = f"{span.get_span_context().trace_id:032x}"
    calls.append({"name": name, "trace": trace_id, "text": text, "finish": finish, "tokens": tokens, "tools": tools})


def chat(client, name, **options):
    options = {"messages": QUESTION, "max_tokens": 24, "temperature": 0} | options
    with tracer.start_as_current_span(name) as span:
        choice = (answer := client.chat.completions.create(**options)).choices[0]
        tools = [[call.function.name, call.function.arguments] for call in choice.message.tool_calls or []]
        seen(name, span, choice.message.content, choice.finish_reason, answer.usage, tools)


def chat_stream(client, name, **options):
    options = {"messages": QUESTION, "max_tokens": 24, "temperature": 0, "stream": True} | options
    with tracer.start_as_current_span(name) as span:
        chunks = list(client.chat.completions.create(**options, stream_options={"include_usage": True}))
        choices = [choice for chunk in chunks for choice in chunk.choices]
        parts = [part for choice in choices for part in choice.delta.tool_calls or []]
        tools = parts and [[parts[0].function.name, "".join(part.function.arguments or "" for part in parts)]]
        text = "".join(choice.delta.content or "" for choice in choices) or None
        finish = next(choice.finish_reason for choice in choices if choice.finish_reason)
        seen(name, span, text, finish, next((chunk.usage for chunk in chunks if chunk.usage), None), tools)


def refused(client, name, **options):
    with tracer.start_as_current_span(name) as span:
        try:
            client.chat.completions.create(messages=LONG, **options)
        except openai.BadRequestError as error:
            return seen(name, span, error.message)
    raise AssertionError("a prompt beyond the context was taken")


def embed(client, name, **options):
    with tracer.start_as_current_span(name) as span:
        answer = client.embeddings.create(input="The cat sat on the mat.", **options)
        seen(name, span, usage=answer.usage)


def all_calls(way, model, stand_in):
    key = {"api_key": "sk-none", "max_retries": 0}
    client = openai.OpenAI(base_url=model + "/v1", **key)
    other = openai.OpenAI(base_url=stand_in + "/v1", **key)
    tool = {"tools": [{"type": "function", "function": WEATHER}], "messages": ASK_FOR_TOOL}
    chat(client, f"{way} chat", model="tiny-pydoc")
    chat_stream(client, f"{way} chat-stream", model="tiny-pydoc")
    refused(client, f"{way} chat-refused", model="tiny-pydoc")
    chat(other, f"{way} chat-tool", model="stand-in", **tool)
    chat_stream(other, f"{way} chat-stream-tool", model="stand-in", **tool)
    embed(other, f"{way} embedding", model="stand-in")


def conventions(way, client):
    """What happens around a call, as the GenAI conventions of OpenTelemetry say it."""
    documents = [{"id": "d1", "score": 0.5}, {"id": "d2", "score": 0.75}]
    with tracer.start_as_current_span("search") as span:
        span.set_attribute("gen_ai.operation.name", "retrieval")
        span.set_attribute("gen_ai.retrieval.query.text", "stock")
        span.set_attribute("gen_ai.retrieval.documents", json.dumps(documents))
    with tracer.start_as_current_span("execute_tool stock") as span:
        span.set_attribute("gen_ai.operation.name", "execute_tool")
        span.set_attribute("gen_ai.tool.name", "stock")
        span.set_attribute("gen_ai.tool.call.arguments", '{"item": 7}')
        span.set_attribute("gen_ai.tool.call.result", '{"left": 3}')
    chat(client, f"{way} pipeline-chat", model="tiny-pydoc")


def openinference(way, client):
    """The same and more, as OpenInference has it."""
    from openinference.instrumentation import OITracer, TraceConfig
    from openinference.semconv.trace import DocumentAttributes, RerankerAttributes, SpanAttributes

    ours = OITracer(trace.get_tracer("shop"), TraceConfig())

    def documents(span, prefix, documents):
        for at, (id, text, score) in enumerate(documents):
            span.set_attribute(f"{prefix}.{at}.{DocumentAttributes.DOCUMENT_ID}", id)
            span.set_attribute(f"{prefix}.{at}.{DocumentAttributes.DOCUMENT_CONTENT}", text)
            span.set_attribute(f"{prefix}.{at}.{DocumentAttributes.DOCUMENT_SCORE}", score)
            span.set_attribute(f"{prefix}.{at}.{DocumentAttributes.DOCUMENT_METADATA}", '{"shelf": 2}')

    found = [("d1", "Shoes", 0.5), ("d2", "Socks", 0.75)]
    with ours.start_as_current_span("search", openinference_span_kind="retriever") as span:
        span.set_input("stock")
        documents(span, SpanAttributes.RETRIEVAL_DOCUMENTS, found)
    with ours.start_as_current_span("rank", openinference_span_kind="reranker") as span:
        span.set_attribute(RerankerAttributes.RERANKER_QUERY, "stock")
        span.set_attribute(RerankerAttributes.RERANKER_MODEL_NAME, "ranker")
        documents(span, RerankerAttributes.RERANKER_INPUT_DOCUMENTS, found)
        documents(span, RerankerAttributes.RERANKER_OUTPUT_DOCUMENTS, found[::-1])

    @ours.tool
    def stock(item: int) -> dict:
        """What is left of an item."""
        return {"left": 3}

    stock(7)
    chat(client, f"{way} pipeline-chat", model="tiny-pydoc")
    with ours.start_as_current_span("policy", openinference_span_kind="guardrail") as span:
        span.set_input("Is it allowed?")
        span.set_output("pass")


def pipeline(way, model):
    client = openai.OpenAI(base_url=model + "/v1", api_key="sk-none", max_retries=0)
    with tracer.start_as_current_span("pipeline") as span:
        span.set_attribute("session.id", f"{instrumentation} {way}")
        (openinference if instrumentation == "openinference" else conventions)(way, client)
        judged = {"gen_ai.evaluation.name": "relevance", "gen_ai.evaluation.score.value": 0.25}
        judged |= {"gen_ai.evaluation.score.label": "poor", "gen_ai.evaluation.explanation": "It says nothing."}
        span.add_event("gen_ai.evaluation.result", judged)
        seen(f"{way} pipeline", span)


all_calls("direct", model, stand_in)
pipeline("direct", model)
if gateway != "-":
    all_calls("gateway", gateway, gateway)
    pipeline("gateway", gateway)
provider.shutdown()
json.dump(calls, sys.stdout)
