"""Enforces the IAM roles in the template, because a local AWS ignores them. Refuses a request if the function's role
does not allow the action or the kind of item in the table. Also records what each function uses.
"""

import fnmatch
import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

# The IAM action for each kind of write in a DynamoDB transaction.
WRITES = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "secretsmanager": "secretsmanager"}
LEADING_KEYS = "dynamodb:LeadingKeys"
AGENT = re.compile(r"\bapp/flexgate-(\w+)")


class Statement(NamedTuple):
    """A statement of a role: actions, resources by their names in the template, and patterns for the partition keys.
    `None` allows every key.
    """

    actions: frozenset
    resources: frozenset
    keys: tuple | None = None

    def allows(self, action, resource, keys):
        matches = lambda key: any(fnmatch.fnmatchcase(key, pattern) for pattern in self.keys)  # noqa: E731
        return action in self.actions and resource in self.resources and (self.keys is None or all(map(matches, keys)))


def statements(role):
    """Yields the statements of a role. `Stack.exist` must have evaluated the role's properties."""
    for one in role["Policies"][0]["PolicyDocument"]["Statement"]:
        actions = {one["Action"]} if isinstance(one["Action"], str) else one["Action"]
        resources = {one["Resource"]} if isinstance(one["Resource"], str) else one["Resource"]
        condition = one.get("Condition", {"ForAllValues:StringLike": {}})
        assert set(condition) == {"ForAllValues:StringLike"} and set(condition["ForAllValues:StringLike"]) <= {LEADING_KEYS}
        keys = condition["ForAllValues:StringLike"].get(LEADING_KEYS)
        names = {re.split(r"[.>]", resource.removeprefix("<"))[0] for resource in resources}
        yield Statement(frozenset(actions), frozenset(names), keys and tuple(keys))


def keys_of(document):
    """Returns the partition keys of a request that reads or writes the table."""
    if "RequestItems" in document:
        return [key["pk"]["S"] for table in document["RequestItems"].values() for key in table["Keys"]]
    if "KeyConditionExpression" in document:
        name = re.match(r"pk = (:\w+)", document["KeyConditionExpression"]).group(1)
        return [document["ExpressionAttributeValues"][name]["S"]]
    item = document.get("Key") or document.get("Item") or {}
    return [item["pk"]["S"]] if "pk" in item else []


def asked(target, body):
    """Returns the actions that a request needs, the resource that it names, and the partition keys.

    AWS does not document whether IAM checks each write of a transaction with its own key or with the keys of all
    writes. So each action of a transaction must be allowed for all keys.
    """
    service, operation = target.split(".")
    service, document = SERVICES.get(service, service), json.loads(body or b"{}")
    operations, resource = {operation}, document.get("TableName") or document.get("QueueUrl") or document.get("SecretId")
    keys = keys_of(document)
    if operation == "TransactWriteItems":
        writes = [(kind, write) for item in document["TransactItems"] for kind, write in item.items()]
        operations = {WRITES[kind] for kind, _ in writes}
        resource = writes[0][1]["TableName"]
        keys = [key for _, write in writes for key in keys_of(write)]
    elif operation == "BatchGetItem":
        resource = next(iter(document["RequestItems"]))
    elif operation in ("SendMessageBatch", "ChangeMessageVisibilityBatch"):
        operations = {operation.removesuffix("Batch")}
    return {f"{service}:{one}" for one in operations}, resource, keys


def prefix(key):
    """Returns the kind of an item as a pattern: `session#1` becomes `session#*`."""
    return re.sub(r"#.*", "#*", key, flags=re.S)


def verdict(who, allowed, actions, resource, keys):
    """Returns why these statements do not allow the request, or `None` if they allow it."""
    for action in sorted(actions):
        if not any(statement.allows(action, resource, keys) for statement in allowed):
            return " ".join([f"{who} may not {action} on {resource}", *sorted(set(map(prefix, keys)))])
    return None


class Policies:
    """A proxy in front of a local AWS. `allowed(function)` returns the statements of the function's role. `names`
    maps the last part of each resource's ARN or URL to the resource's name in the template.
    """

    def __init__(self, upstream, allowed, names):
        self.upstream, self.allowed, self.names = upstream, allowed, names
        self.used, self.refused, self.lock = {}, [], threading.Lock()

    def problem(self, function, target, body):
        actions, resource, keys = asked(target, body)
        resource = self.names.get(re.split(r"[:/]", str(resource))[-1], resource)
        problem = verdict(function, self.allowed(function), actions, resource, keys)
        with self.lock:
            if problem:
                self.refused.append(problem)
            else:
                kinds = set(map(prefix, keys)) or {None}
                self.used.setdefault(function, set()).update((action, kind) for action in actions for kind in kinds)
        return problem

    def start(self, port):
        server = ThreadingHTTPServer(("127.0.0.1", port), self.handler())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def handler(policies):  # noqa: N805 (the handler's own self is inside)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def forward(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                agent = self.headers.get("x-amz-user-agent") or self.headers.get("user-agent") or ""
                function = AGENT.search(agent)
                target = self.headers.get("x-amz-target")
                if function and target:
                    problem = policies.problem(function.group(1), target, body)
                    if problem:
                        refusal = json.dumps({"__type": "AccessDeniedException", "message": problem}).encode()
                        return self.answer(400, [("content-type", "application/x-amz-json-1.0")], refusal)
                connection = http.client.HTTPConnection("127.0.0.1", policies.upstream, timeout=30)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                keep = [(n, v) for n, v in answer.getheaders() if n.lower() not in ("content-length", "transfer-encoding", "connection")]
                self.answer(answer.status, keep, answer.read())
                connection.close()

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = forward

        return Handler
