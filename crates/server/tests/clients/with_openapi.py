"""Every operation of the OpenAPI document with its own examples: python with_openapi.py API TOKEN

Prints the document, and for each operation the status that it answered with. What comes must be what the document says."""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

api, token = sys.argv[1:]


def ask(method, path, body=None, content_type=None):
    headers = {"authorization": f"Bearer {token}"}
    if content_type:
        headers["content-type"] = content_type
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api + path, data, headers, method=method.upper())
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.headers.get_content_type(), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get_content_type(), error.read()


def text(example):
    return str(example).lower() if isinstance(example, bool) else str(example)


def check(document, operation, status, media, body):
    responses = operation["responses"]
    response = responses.get(str(status), responses["default"])
    if "$ref" in response:
        response = document["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"][media]["schema"]
    if media == "application/json":
        body = json.loads(body)
    elif media == "application/x-ndjson":
        for line in body.splitlines():
            json.loads(line)
        body = body.decode()
    else:
        body = body.decode("latin-1")
    # What "#/components/…" refers to must be in the schema's own document.
    whole = {"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [schema], "components": document["components"]}
    Draft202012Validator(whole).validate(body)
    return body


def run(document, method, path, operation, places):
    query = {}
    for parameter in operation.get("parameters", []):
        name = parameter["name"]
        if parameter["in"] == "path":
            value = places.get(operation["operationId"], parameter["example"])
            path = path.replace("{" + name + "}", urllib.parse.quote(value))
        elif "example" in parameter:
            query[name] = text(parameter["example"])
    if query:
        path += "?" + urllib.parse.urlencode(query)
    body = content_type = None
    if "requestBody" in operation:
        content_type, content = next(iter(operation["requestBody"]["content"].items()))
        body = content["example"]
        whole = {"allOf": [content["schema"]], "components": document["components"]}
        Draft202012Validator(whole).validate(body)
    status, media, answer = ask(method, path, body, content_type)
    return status, check(document, operation, status, media, answer)


document = json.loads(ask("get", "/api/v1/openapi.json")[2])
validate(document)
statuses, places = {}, {}
for path, methods in document["paths"].items():
    for method, operation in methods.items():
        name = operation["operationId"]
        assert name not in statuses, f"two operations are called {name}"
        status, answer = run(document, method, path, operation, places)
        statuses[name] = status
        if status >= 300:
            print(f"{name}: {answer}", file=sys.stderr)
        if name == "addHold":
            places["releaseHold"] = answer["hold"]["id"]
json.dump({"document": document, "statuses": statuses}, sys.stdout)
