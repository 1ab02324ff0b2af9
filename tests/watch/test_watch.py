"""Runs `cargo lambda watch` as docs/local.md describes. cargo-lambda runs the programs of the functions against its own
runtime API and routes requests to them. The simulated set-up of `cargo run` runs at the same time. The tests sign in,
mint, provision, deliver a webhook, and apply a batch with `cargo lambda invoke`.

FLEXGATE_BIN names the binary `flexgate`. cargo-lambda must be on the path.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900  # The first request to a function compiles it.


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


class NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments):
        return None


OPENER = urllib.request.build_opener(NoRedirects)


def send(method, url, headers=None, body=None):
    """Sends a request. Returns the status, the headers and the body."""
    headers = dict(headers or {})
    if isinstance(body, dict):
        body, headers["content-type"] = json.dumps(body), "application/json"
    request = urllib.request.Request(url, body.encode() if body else None, headers, method=method)
    try:
        with OPENER.open(request, timeout=PATIENCE) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read().decode()


def until(what, found, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if result := found():
            return result
        time.sleep(0.2)
    raise AssertionError(f"waited in vain for {what}")


class Watch(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="flexgate-watch-")
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        gateway, simulator, tls, cls.port = free_ports(4)
        cls.simulator, cls.url = f"http://localhost:{simulator}", f"http://localhost:{cls.port}"
        ports = ["--port", str(gateway), "--simulator-port", str(simulator), "--tls-port", str(tls)]
        served = cls.start([os.environ["FLEXGATE_BIN"], "serve", *ports, "--data-dir", folder.name], dict(os.environ), "gateway")
        until("the simulated set-up", lambda: served.poll() is None and "Ctrl-C" in cls.said("gateway"))

        lines = [shlex.split(line)[1] for line in (cls.folder / "environment").read_text().splitlines()]
        cls.environment = os.environ | dict(line.split("=", 1) for line in lines) | {"FLEXGATE_PUBLIC_URL": cls.url}
        send("POST", f"{cls.simulator}/__sim/trusted-urls", body={"trusted_urls": [f"{cls.url}/sso/default/callback"]})
        watch = ["cargo", "lambda", "watch", "--ignore-changes", "--invoke-address", "127.0.0.1", "--invoke-port", str(cls.port)]
        cls.start(watch, cls.environment, "watch")
        until("cargo lambda watch", cls.listening)

    @classmethod
    def start(cls, command, environment, name):
        log = open(cls.folder / f"{name}.log", "wb")
        cls.addClassCleanup(log.close)
        # `cargo lambda watch` starts other processes. A new process group makes it possible to end all of them
        # together.
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)

        def stop():
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

        cls.addClassCleanup(stop)
        return process

    @classmethod
    def said(cls, name):
        return (cls.folder / f"{name}.log").read_text()

    @classmethod
    def listening(cls):
        try:
            return socket.create_connection(("127.0.0.1", cls.port), 1).close() is None
        except OSError:
            return False

    def expect(self, status, answered):
        self.assertEqual(answered[0], status, f"{answered[2]}\n{self.said('watch')[-4000:]}")
        return json.loads(answered[2]) if answered[2] else None

    def sign_in(self, person):
        """Signs in as `person`. Returns the value of the session's `cookie` header."""
        cookies, at, form = {}, f"{self.url}/sso/default/login?return_to=/desk", None
        for _ in range(12):
            ours = at.startswith(self.url + "/")
            kind = {"content-type": "application/x-www-form-urlencoded"} if form else {}
            sent = kind | ({"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if ours else {})
            status, headers, text = send("POST" if form else "GET", at, sent, form)
            for line in headers.get_all("set-cookie", []) if ours else []:
                name, value = line.split(";")[0].split("=", 1)
                cookies[name] = value
            session = cookies.get("__Host-flexgate-session")
            if session:
                self.assertEqual((status, headers["location"]), (303, "/desk"))
                return f"__Host-flexgate-session={session}"
            form = None
            if headers["location"]:
                at = urllib.parse.urljoin(at, headers["location"])
                continue
            field = re.search(r'name="request" value="([^"]*)"', text)
            self.assertIsNotNone(field, f"{at}: {status} {text[:500]}\n{self.said('watch')[-4000:]}")
            at, form = f"{self.simulator}/idp/authorize/decision", urllib.parse.urlencode({"request": field[1], "username": person})
        raise AssertionError("signing in does not end")

    def bearer(self):
        service = base64.b64encode(b"demo-service:demo-service-secret").decode()
        form = {"authorization": f"Basic {service}", "content-type": "application/x-www-form-urlencoded"}
        answered = send("POST", f"{self.simulator}/idp/token", form, "grant_type=client_credentials")
        return {"authorization": "Bearer " + self.expect(200, answered)["access_token"]}

    def users(self):
        return {user["username"]: user for user in self.expect(200, send("GET", f"{self.simulator}/__sim/users"))["users"]}

    def deliver(self, body, secret):
        at, text = int(time.time()), json.dumps(body)
        key = base64.b64decode(secret.removeprefix("whsec_"))
        mark = hmac.new(key, f"{body['data']['id']}.{at}.{text}".encode(), hashlib.sha256).digest()
        headers = {"webhook-id": body["data"]["id"], "webhook-timestamp": str(at), "content-type": "application/json"}
        headers["webhook-signature"] = "v1," + base64.b64encode(mark).decode()
        return send("POST", f"{self.url}/webhooks/standard", headers, text)

    def test_every_function_answers_at_its_production_path(self):
        cookie = self.sign_in("ada")
        ours = {"cookie": cookie, "origin": self.url, "x-flexgate": "1"}
        token = self.expect(200, send("POST", f"{self.url}/sso/token", ours))
        self.assertEqual(token["username"], "ada")
        self.expect(200, send("POST", f"{self.url}/sso/validate", body={"token": token["access_token"]}))

        bearer = self.bearer()
        katherine = {"username": "katherine", "email": "katherine@example.com", "full_name": "Katherine", "roles": ["agent"]}
        made = self.expect(201, send("POST", f"{self.url}/users", bearer, katherine))
        found = self.expect(200, send("GET", f"{self.url}/users?username=katherine", bearer))
        self.assertEqual([user["flex_user_sid"] for user in found["users"]], [made["flex_user_sid"]])
        minted = self.expect(201, send("POST", f"{self.url}/token", bearer, {"username": "katherine", "ttl": 600}))
        self.assertEqual(minted["token_info"]["flex_user_sid"], made["flex_user_sid"])
        self.assertEqual(self.expect(401, send("POST", f"{self.url}/token", body={}))["code"], "token_invalid")
        scim = {"authorization": "Bearer " + (self.folder / "scim-token").read_text().strip()}
        self.assertGreaterEqual(self.expect(200, send("GET", f"{self.url}/scim/v2/Users?count=5", scim))["totalResults"], 1)

        secret = json.loads((self.folder / "secrets/webhook-secrets.json").read_text())["standard"]
        barbara = {"id": "u1", "username": "barbara", "email": "barbara@example.com", "email_verified": True, "full_name": "Barbara"}
        event = {"type": "user.created", "timestamp": "2026-01-01T09:00:00Z", "data": barbara}
        self.expect(401, self.deliver(event, "whsec_" + base64.b64encode(b"another key" * 3).decode()))
        self.assertEqual(self.expect(202, self.deliver(event, secret))["accepted"], 1)
        until("the event to be applied by the gateway beside it", lambda: "barbara" in self.users())

    def test_a_batch_is_applied_by_invoking_its_function(self):
        message = {
            "kind": "event", "id": "1", "source": "standard", "occurred_at": "2026-01-01T10:00:00Z", "subject": {"id": "u2"},
            "action": "upsert", "profile": {"username": "dorothy", "email": "dorothy@example.com", "full_name": "Dorothy"},
        }
        record = {"messageId": "m1", "body": json.dumps(message), "attributes": {"MessageGroupId": "u2"}}
        batch = self.folder / "batch.json"
        batch.write_text(json.dumps({"Records": [record, record | {"messageId": "m2", "body": "poison"}]}))
        invoke = ["cargo", "lambda", "invoke", "--invoke-address", "127.0.0.1", "--invoke-port", str(self.port)]
        done = subprocess.run(
            [*invoke, "--data-file", str(batch), "flexgate-apply"], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
        )
        self.assertEqual((done.returncode, json.loads(done.stdout or "{}")), (0, {"batchItemFailures": []}), done.stderr)
        self.assertIn("dorothy", self.users())

    def test_only_this_machine_is_served_and_cors_is_flexgates_own(self):
        with socket.socket(socket.AF_INET6) as other:
            self.assertNotEqual(other.connect_ex(("::1", self.port)), 0)
        asked = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        status, headers, _ = send("OPTIONS", f"{self.url}/sso/token", asked)
        self.assertEqual((status, headers["access-control-allow-origin"]), (204, None))


if __name__ == "__main__":
    unittest.main()
