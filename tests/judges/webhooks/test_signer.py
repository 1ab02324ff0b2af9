"""Sends webhooks to the gateway, signed by the PyPI package `standardwebhooks`. FLEXGATE_BIN is the path of the
binary.
"""

import json
import os
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from datetime import datetime, timedelta, timezone
from pathlib import Path

from standardwebhooks import Webhook

OTHER = "whsec_b3RoZXIga2V5b3RoZXIga2V5b3RoZXIga2V5"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Signer(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.TemporaryDirectory(prefix="flexgate-judge-")
        cls.port, cls.simulator, tls = free_port(), free_port(), free_port()
        cls.gateway = subprocess.Popen(
            [os.environ["FLEXGATE_BIN"], "--port", str(cls.port), "--simulator-port", str(cls.simulator),
             "--tls-port", str(tls), "--data-dir", cls.folder.name],
            stdout=subprocess.PIPE, text=True,
        )
        for line in cls.gateway.stdout:
            if "Ctrl-C" in line:
                break
        secrets = Path(cls.folder.name, "secrets", "webhook-secrets.json").read_text()
        cls.secret = json.loads(secrets)["standard"]

    @classmethod
    def tearDownClass(cls) -> None:
        cls.gateway.send_signal(signal.SIGTERM)
        cls.gateway.wait(10)
        cls.gateway.stdout.close()
        cls.folder.cleanup()

    def deliver(self, secret: str, at: datetime, body: str, sent: str | None = None, message: str = "msg_py") -> int:
        headers = {
            "content-type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret).sign(message, at, body),
        }
        url = f"http://127.0.0.1:{self.port}/webhooks/standard"
        request = urllib.request.Request(url, (sent or body).encode(), headers, method="POST")
        try:
            with urllib.request.urlopen(request) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def event(self, who: str) -> str:
        at = int(time.time() * 1000)
        data = {"id": f"user_{who}", "username": who, "email": f"{who}@example.com", "full_name": "Zoë Ünal", "updated_at": at}
        return json.dumps({"type": "user.created", "data": data}, ensure_ascii=False)

    def test_a_delivery_is_accepted_and_applied(self) -> None:
        self.assertEqual(self.deliver(self.secret, datetime.now(timezone.utc), self.event("py-ada")), 202)
        for _ in range(100):
            with urllib.request.urlopen(f"http://127.0.0.1:{self.simulator}/__sim/users") as answer:
                users = {user["username"]: user for user in json.load(answer)["users"]}
            if "py-ada" in users:
                break
            time.sleep(0.05)
        self.assertEqual(users["py-ada"]["full_name"], "Zoë Ünal")

    def test_an_altered_body_another_key_and_an_old_time_are_refused(self) -> None:
        now, body = datetime.now(timezone.utc), self.event("py-eve")
        self.assertEqual(self.deliver(self.secret, now, body, sent=body + " "), 401)
        self.assertEqual(self.deliver(OTHER, now, body), 401)
        self.assertEqual(self.deliver(self.secret, now - timedelta(seconds=302), body), 401)
        self.assertEqual(self.deliver(self.secret, now + timedelta(seconds=305), body), 401)


if __name__ == "__main__":
    unittest.main()
