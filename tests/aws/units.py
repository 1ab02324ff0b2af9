"""Computes the capacity units of requests to DynamoDB by AWS's documented rules, because moto reports fixed numbers.

The rules are in the developer guide: "DynamoDB read and write operations" and "DynamoDB item sizes and formats". A
write costs one unit for each started kB of the item's size before or after the write, whichever is larger, even if the
write's condition is not met. A strongly consistent read costs one unit for each started 4 kB, and an eventually
consistent read costs half of that. A query rounds up the total size of its items, but a batch rounds up the size of
each item. Transactions cost twice as much.
"""

import base64
import io
import json
import math
from typing import NamedTuple

from moto.dynamodb.models import dynamodb_backends
from policies import prefix

ACCOUNT, REGION = "123456789012", "us-east-1"
WRITES = ("PutItem", "UpdateItem", "DeleteItem")


class Cost(NamedTuple):
    operation: str
    kind: str
    reads: float
    writes: float
    size: int


def size(value):
    """Returns the size of an attribute's value in bytes."""
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "B":
        return len(content if isinstance(content, bytes) else base64.b64decode(content))
    if kind == "N":
        digits = content.lstrip("-").replace(".", "").strip("0")
        return math.ceil(len(digits) / 2) + 1 + content.startswith("-")
    if kind == "SS":
        return sum(len(one.encode()) for one in content)
    if kind == "L":
        return 3 + sum(1 + size(one) for one in content)
    if kind == "M":
        return 3 + sum(1 + len(name.encode()) + size(one) for name, one in content.items())
    return 1  # BOOL and NULL


def item_size(item):
    return sum(len(name.encode()) + size(value) for name, value in (item or {}).items())


def started(bytes_, step):
    return max(1, math.ceil(bytes_ / step))


def write_cost(operation, key, before, after, factor=1):
    bytes_ = max(item_size(before), item_size(after))
    return Cost(operation, prefix(key["pk"]["S"]), 0, factor * started(bytes_, 1024), bytes_)


def read_cost(operation, pk, bytes_, consistent):
    return Cost(operation, prefix(pk), started(bytes_, 4096) * (1 if consistent else 0.5), 0, bytes_)


def stored(table, key):
    found = dynamodb_backends[ACCOUNT][REGION].get_item(table, {name: key[name] for name in ("pk", "sk")})
    return found and found.to_json()["Attributes"]


class Meter:
    """A WSGI application in front of moto that records what each request costs."""

    def __init__(self, app):
        self.app, self.costs = app, []

    def __call__(self, environ, start_response):
        target = environ.get("HTTP_X_AMZ_TARGET") or ""
        if not target.startswith("DynamoDB"):
            return self.app(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        operation, document = target.split(".")[1], json.loads(body)
        writes = []
        if operation in WRITES:
            writes = [(operation, document, 1)]
        elif operation == "TransactWriteItems":
            writes = [(f"{kind} (transaction)", one, 2) for item in document["TransactItems"] for kind, one in item.items()]
        keys = [(name, one["TableName"], one.get("Key") or one["Item"], factor) for name, one, factor in writes]
        before = [stored(table, key) for _, table, key, _ in keys]
        answer = list(self.app(environ, start_response))
        for (name, table, key, factor), old in zip(keys, before):
            self.costs.append(write_cost(name, key, old, stored(table, key), factor))
        self.costs += self.reads(operation, document, json.loads(b"".join(answer)))
        return answer

    def reads(self, operation, document, answer):
        consistent = document.get("ConsistentRead", False)
        if operation == "GetItem":
            return [read_cost(operation, document["Key"]["pk"]["S"], item_size(answer.get("Item")), consistent)]
        if operation == "Query":
            pk = document["ExpressionAttributeValues"][":pk"]["S"]
            return [read_cost(operation, pk, sum(map(item_size, answer.get("Items", []))), consistent)]
        costs = []
        for table, one in document.get("RequestItems", {}).items():
            for key in one["Keys"]:
                found = item_size(stored(table, key))
                costs.append(read_cost(operation, key["pk"]["S"], found, one.get("ConsistentRead", False)))
        return costs

    def take(self):
        taken, self.costs = self.costs, []
        return taken
