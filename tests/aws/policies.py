"""A proxy between the functions and the local AWS. The local AWS ignores the roles in the template, so this proxy
enforces them: it refuses every action that the function's role does not allow. It also records which actions each
function uses.
"""

import http.client
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# The IAM action for each kind of write in a DynamoDB transaction.
WRITES = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
SERVICES = {"DynamoDB_20120810": "dynamodb", "AmazonSQS": "sqs", "secretsmanager": "secretsmanager"}


def asked(target, body):
    """The actions that a request needs, and the resource that the request names."""
    service, operation = target.split(".")
    service, document = SERVICES.get(service, service), json.loads(body or b"{}")
    operations, resource = {operation}, document.get("TableName") or document.get("QueueUrl") or document.get("SecretId")
    if operation == "TransactWriteItems":
        operations = {WRITES[kind] for item in document["TransactItems"] for kind in item}
        resource = next(write["TableName"] for item in document["TransactItems"] for write in item.values())
    elif operation == "BatchGetItem":
        resource = next(iter(document["RequestItems"]))
    elif operation in ("SendMessageBatch", "ChangeMessageVisibilityBatch"):
        operations = {operation.removesuffix("Batch")}
    return {f"{service}:{one}" for one in operations}, resource


class Policies:
    """The proxy. `allowed(function)` returns what the function's role allows, as pairs of a set of actions and an
    ARN.
    """

    def __init__(self, upstream, allowed):
        self.upstream, self.allowed = upstream, allowed
        self.used, self.refused, self.lock = {}, [], threading.Lock()

    def verdict(self, function, actions, resource):
        last = re.split(r"[:/]", str(resource))[-1]
        for action in sorted(actions):
            if not any(action in some and last == re.split(r"[:/]", arn)[-1] for some, arn in self.allowed(function)):
                return f"{function} may not {action} on {last}"
        return None

    def note(self, function, actions, problem):
        with self.lock:
            if problem:
                self.refused.append(problem)
            else:
                self.used.setdefault(function, set()).update(actions)

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
                function = re.search(r"\bapp/flexgate-(\w+)", agent)
                target = self.headers.get("x-amz-target")
                if function and target:
                    actions, resource = asked(target, body)
                    problem = policies.verdict(function.group(1), actions, resource)
                    policies.note(function.group(1), actions, problem)
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
