"""Prints how many of DynamoDB's read and write units each operation costs, and for which kinds of item.

    units.py TARGET     TARGET is the folder with the binaries `flexgate`, `flexgate-apply` and the simulator

The gateway and `apply` use moto as their store. The simulator replaces Twilio and the identity provider.
"""

import base64
import collections
import hashlib
import http.server
import json
import logging
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/aws"))
import boto3  # noqa: E402
import stack  # noqa: E402
from emulator import OneAtATime  # noqa: E402
from moto.dynamodb.models import dynamodb_backends  # noqa: E402
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: E402
from moto.server import MotoRequestHandler  # noqa: E402
from units import ACCOUNT, REGION, Meter  # noqa: E402
from werkzeug.serving import make_server  # noqa: E402

AWS = 4580
ENDPOINT, TABLE = f"http://127.0.0.1:{AWS}", "units"
AUDIENCE = "flexgate"
OURS = {"Origin": stack.PUBLIC, "x-flexgate": "1"}
SCIM = "urn:ietf:params:scim:schemas:core:2.0:User"


class Runtime:
    """Lambda's runtime API for one function."""

    def __init__(self, binary, variables):
        self.events, self.answers = [], []
        self.ready, self.answered = threading.Semaphore(0), threading.Semaphore(0)
        runtime = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                runtime.ready.acquire()
                body = runtime.events.pop(0)
                self.send_response(200)
                for name, value in {"request-id": "1", "deadline-ms": int((time.time() + 60) * 1000), "invoked-function-arn":
                                    "arn:aws:lambda:us-east-1:000000000000:function:apply", "trace-id": "Root=1-5759e988-bd862e3fe1be46a994272793"}.items():
                    self.send_header(f"lambda-runtime-{'aws-' if name == 'request-id' else ''}{name}", str(value))
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self):
                runtime.answers.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()
                runtime.answered.release()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        names = {"AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}", "AWS_LAMBDA_FUNCTION_NAME": "apply",
                 "AWS_LAMBDA_FUNCTION_VERSION": "1", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512"}
        self.process = subprocess.Popen([binary], env=variables | names, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def invoke(self, event):
        self.events.append(json.dumps(event).encode())
        self.ready.release()
        assert self.answered.acquire(timeout=60), "the function does not answer"
        return self.answers.pop()


class Report:
    def __init__(self, meter):
        self.meter = meter
        print("| operation | read units | write units | writes |\n|---|---|---|---|")

    def row(self, what):
        costs = self.meter.take()
        kinds = collections.Counter()
        for cost in costs:
            if cost.writes:
                kinds[f"{cost.kind} {cost.operation} of {cost.size} B: {cost.writes}"] += 1
        writes = [kind if times == 1 else f"{times} × {kind}" for kind, times in sorted(kinds.items())]
        total = lambda name: f"{sum(getattr(cost, name) for cost in costs):g}"  # noqa: E731
        print(f"| {what} | {total('reads')} | {total('writes')} | {'; '.join(writes) or '–'} |", flush=True)


class Browser(stack.Browser):
    """A browser that records the costs of each request to the gateway."""

    def __init__(self, report):
        super().__init__("localhost:1")
        self.report = report

    def send(self, method, path, headers=None, body=None, what=None):
        self.report.meter.take()
        answer = super().send(method, path, headers, body)
        assert answer[0] < 400, (method, path, answer)
        if what is None and "/callback" in path:
            what = self.callback
        if what:
            self.report.row(what)
        return answer

    def sign_in_as(self, person, what):
        self.callback = what
        return self.sign_in(person)


def age(seconds):
    """Moves the last use of every session into the past."""
    table = dynamodb_backends[ACCOUNT][REGION].get_table(TABLE)
    for items in table.items.values():
        for item in items.values():
            if "used_at" in item.attrs:
                item.attrs["used_at"].value = str(int(item.attrs["used_at"].value) - seconds)


def drive(report, apply):
    simulator = lambda path, body: json.loads(stack.call(stack.SIMULATOR, "POST", path, body)[2])  # noqa: E731
    browser = Browser(report)
    for what, query in (("login", ""), ("login with a long `return_to`", "?" + "x" * 80)):
        # The request's host is not the public URL's host, so the first answer is a redirect to the public URL.
        _, headers, _ = browser.send("GET", f"/sso/default/login?return_to=/desk{query}")
        browser.send("GET", headers["location"].removeprefix(stack.PUBLIC), what=what)
    browser.sign_in_as("ada", "sign-in (callback)")
    browser.send("POST", "/sso/token", OURS, what="`POST /sso/token`")
    age(120)
    browser.send("POST", "/sso/token", OURS, what="`POST /sso/token` after two minutes")
    browser.sign_in_as("ada", "sign-in in a browser with a session")
    browser.send("POST", "/sso/logout", OURS, what="logout")
    simulator("/__sim/switches", {"sso_token_ttl_seconds": 120})
    browser.sign_in_as("ada", None)
    simulator("/__sim/switches", {"sso_token_ttl_seconds": 3600})
    browser.send("POST", "/sso/token", OURS, what="`POST /sso/token` that refreshes")

    def bearer(name):
        claims = {"sub": name, "scope": "flexgate.token flexgate.users.write flexgate.users.read", "preferred_username": name,
                  "username": name, "email": f"{name}@example.com", "email_verified": True, "name": "Units Example"}
        return {"Authorization": "Bearer " + simulator("/idp/__dev/token", claims)["token"]}

    ada, new = bearer("ada"), bearer("katherine")
    browser.send("POST", "/token", ada, {}, what="mint, the first of somebody whom Flex knows")
    browser.send("POST", "/token", ada, {}, what="mint")
    browser.send("POST", "/token", new, {}, what="mint that creates the user")
    browser.send("POST", "/token", new, {}, what="mint of somebody whom a mint created")

    scim = {"Authorization": f"Bearer {SCIM_TOKEN}"}
    person = {"schemas": [SCIM], "userName": "hedy@example.com", "externalId": "00u9", "active": True, "displayName": "Hedy Lamarr",
              "name": {"givenName": "Hedy", "familyName": "Lamarr"}, "emails": [{"value": "hedy@example.com", "primary": True}]}
    user = json.loads(browser.send("POST", "/scim/v2/Users", scim, person, what="SCIM: create a user")[2])
    browser.send("GET", f"/scim/v2/Users/{user['id']}", scim, what="SCIM: read a user")
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
             "Operations": [{"op": "replace", "path": "active", "value": False}]}
    browser.send("PATCH", f"/scim/v2/Users/{user['id']}", scim, patch, what="SCIM: deactivate a user")

    def deliver(event, what):
        report.meter.take()
        record = {"messageId": "m1", "body": json.dumps(event), "attributes": {"MessageGroupId": "g", "ApproximateReceiveCount": "1"}}
        answer = apply.invoke({"Records": [record]})
        assert answer == {"batchItemFailures": []}, answer
        report.row(what)

    event = {"kind": "event", "id": "e1", "source": "standard", "occurred_at": "2026-01-01T09:00:00Z", "subject": {"id": "00u1"},
             "action": "upsert", "profile": {"username": "barbara", "email": "barbara@example.com", "full_name": "Barbara Liskov"}}
    deliver(event, "webhook: an event that creates a user")
    deliver(event, "webhook: the same event again")
    event = event | {"id": "e2", "occurred_at": "2026-01-01T09:05:00Z", "action": "deactivate"}
    deliver(event, "webhook: an event that deactivates a user")


def settings(work):
    secrets = work / "secrets"
    secrets.mkdir()
    key = base64.b64encode(os.urandom(32)).decode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(SCIM_TOKEN.encode()).digest()).decode().rstrip("=")
    for name, document in {
        "twilio": {"accountSid": stack.ACCOUNT, "authToken": stack.TOKEN}, "cookie-keys": {"current": "1", "keys": {"1": key}},
        "scim-tokens": {"tokens": [{"id": "units", "sha256": digest}]}, "webhook-secrets": {"standard": f"whsec_{key}"},
    }.items():
        (secrets / f"{name}.json").write_text(json.dumps(document))
    _, _, found = stack.call(stack.SIMULATOR, "GET", "/idp/.well-known/openid-configuration")
    issuers = [{"issuer": json.loads(found)["issuer"], "audiences": [AUDIENCE], "roles_claim": "roles"}]
    return {
        "PATH": os.environ["PATH"], "HOME": str(work),
        "TWILIO_ACCOUNT_SID": stack.ACCOUNT, "TWILIO_INSTANCE_SID": "GO00000000000000000000000000000001",
        "TWILIO_SECRET_ID": "twilio", "COOKIE_KEYS_SECRET_ID": "cookie-keys", "SCIM_TOKENS_SECRET_ID": "scim-tokens",
        "FLEXGATE_TWILIO_URL": f"http://localhost:{stack.SIMULATOR}", "FLEXGATE_PUBLIC_URL": stack.PUBLIC,
        "FLEXGATE_SECRETS": f"files:{secrets}", "FLEXGATE_STORE": f"dynamodb:{TABLE}", "FLEXGATE_JUST_IN_TIME": "create",
        "FLEXGATE_QUEUE": f"sqs:{ENDPOINT}/{ACCOUNT}/events.fifo", "FLEXGATE_BULK_QUEUE": f"sqs:{ENDPOINT}/{ACCOUNT}/bulk.fifo",
        "FLEXGATE_SSO_PROFILES": "default=JQ00000000000000000000000000000001", "FLEXGATE_ISSUERS": json.dumps(issuers),
        "AWS_ENDPOINT_URL": ENDPOINT, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION,
    }


SCIM_TOKEN = "fgscim_" + "units" * 9


def quiet(what, holds, seen=""):
    assert holds, (what, seen)


def main(target):
    stack.check = quiet
    stack.check_ports(AWS, stack.AWS, stack.SIMULATOR)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    work = pathlib.Path(tempfile.mkdtemp(prefix="flexgate-units-"))
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    meter = app.app = Meter(app.app)
    server = make_server("127.0.0.1", AWS, app, threaded=True, request_handler=MotoRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log = open(work / "log", "w")
    processes = [subprocess.Popen([target / "examples/serve", f"127.0.0.1:{stack.SIMULATOR}", "127.0.0.1:0", work / "simulator",
                                   f"{stack.PUBLIC}/sso/default/callback"], stdout=log, stderr=log)]
    try:
        client = boto3.client("dynamodb", endpoint_url=ENDPOINT, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test")
        keys = [("pk", "HASH"), ("sk", "RANGE")]
        client.create_table(TableName=TABLE, BillingMode="PAY_PER_REQUEST",
                            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
                            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys])
        stack.wait("the simulator's start", lambda: stack.call(stack.SIMULATOR, "GET", "/__sim")[0] == 200)
        variables = settings(work)
        processes.append(subprocess.Popen([target / "flexgate", "serve", "--live", "--port", str(stack.AWS)], env=variables, stdout=log, stderr=log))
        stack.wait("the gateway's start", lambda: stack.call(stack.AWS, "GET", "/health", host=f"localhost:{stack.AWS}")[0] == 200)
        apply = Runtime(target / "flexgate-apply", variables)
        processes.append(apply.process)
        drive(Report(meter), apply)
    except BaseException:
        log.flush()
        print((work / "log").read_text()[-4000:], file=sys.stderr)
        raise
    finally:
        for process in processes:
            process.kill()


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve())
