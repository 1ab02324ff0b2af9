"""Runs Schemathesis against the gateway. Starts the binary named by FLEXGATE_BIN on free ports, gets the credentials
that callers need, and checks every answer against the OpenAPI document. Passes its own arguments on to Schemathesis.
"""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ORIGIN = "http://localhost:9000"  # as in the document's examples
PEOPLE = [f"person{number}" for number in range(60)]
COMMITTED = HERE.parents[2] / "docs" / "openapi.json"


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)


def ask(url, form=None, headers=None):
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    request = urllib.request.Request(url, data, headers or {})
    try:
        return OPENER.open(request, timeout=10)
    except urllib.error.HTTPError as answer:  # urllib raises this for a redirect too
        return answer


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def bearer(simulator):
    """Returns a token of the simulated identity provider, for a service that has every scope and is also a Flex
    user.
    """
    claims = {
        "sub": "judge",
        "preferred_username": PEOPLE[0],
        "scope": "flexgate.token flexgate.token.any flexgate.users.read flexgate.users.write",
    }
    headers = {"content-type": "application/json"}
    request = urllib.request.Request(f"{simulator}/idp/__dev/token", json.dumps(claims).encode(), headers)
    with OPENER.open(request, timeout=10) as answer:
        return json.load(answer)["token"]


def session(gateway):
    """Signs in as a browser would, and returns the session cookie."""
    answer = ask(f"{gateway}/sso/default/login?return_to=/")
    login = answer.headers["set-cookie"].split(";")[0]
    page = ask(answer.headers["location"])
    while page.status in (302, 303):
        page = ask(urllib.parse.urljoin(page.url, page.headers["location"]))
    text = page.read().decode()
    request = re.search(r'name="request"\s+value="([^"]+)"', text)
    assert request, f"no sign-in page: {page.status}"
    decision = urllib.parse.urljoin(page.url, "/idp/authorize/decision")
    answer = ask(decision, {"request": request.group(1), "username": "ada"})
    while not answer.headers["location"].startswith(gateway):
        answer = ask(urllib.parse.urljoin(answer.url, answer.headers["location"]))
    answer = ask(answer.headers["location"], headers={"cookie": login})
    cookies = [cookie.split(";")[0] for cookie in answer.headers.get_all("set-cookie")]
    return next(cookie for cookie in cookies if cookie.startswith("__Host-flexgate-session=")).split("=", 1)[1]


def token(gateway, session_id):
    headers = {"cookie": f"__Host-flexgate-session={session_id}", "x-flexgate": "1", "origin": ORIGIN}
    with ask(f"{gateway}/sso/token", {}, headers) as answer:
        return json.load(answer)["access_token"]


def page_token(gateway, bearer_token):
    """Returns the token for the second page of users. Creates so many users that some remain after all DELETE
    requests.
    """
    headers = {"authorization": f"Bearer {bearer_token}", "content-type": "application/json"}
    for name in PEOPLE:
        user = {"username": name, "email": f"{name}@example.com", "full_name": name.title(), "roles": ["agent"]}
        request = urllib.request.Request(f"{gateway}/users", json.dumps(user).encode(), headers)
        OPENER.open(request, timeout=10).close()
    with ask(f"{gateway}/users?page_size=1", headers=headers) as answer:
        return json.load(answer)["next_page_token"]


def dictionary(path, values):
    """Writes a dictionary file: one value per line, in the format that Schemathesis reads."""
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))


def main():
    binary = os.environ["FLEXGATE_BIN"]
    folder = tempfile.mkdtemp(prefix="flexgate-schema-")
    data, work = Path(folder) / "data", Path(folder) / "work"
    webhook_key = base64.b64encode(os.urandom(32)).decode()
    (data / "secrets").mkdir(parents=True)
    secrets = {"standard": f"whsec_{webhook_key}", "okta": os.urandom(24).hex()}
    (data / "secrets" / "webhook-secrets.json").write_text(json.dumps(secrets))
    work.mkdir()
    shutil.copy(HERE / "schemathesis.toml", work)
    port, simulator_port, tls = free_ports(3)
    gateway, simulator = f"http://localhost:{port}", f"http://localhost:{simulator_port}"
    arguments = ["--port", port, "--simulator-port", simulator_port, "--tls-port", tls, "--data-dir", data]
    log = open(Path(folder) / "gateway.log", "wb")
    process = subprocess.Popen(
        [binary, "serve", *map(str, arguments)],
        stdout=log,
        stderr=log,
        env={
            **os.environ,
            "FLEXGATE_MINTS_PER_MINUTE": "1000",
            "FLEXGATE_ALLOWED_ORIGINS": ORIGIN,
            # Most of Schemathesis's requests are invalid and would exhaust the client's budget for failed requests. The
            # budget does not apply to trusted networks.
            "FLEXGATE_TRUSTED_NETWORKS": "127.0.0.0/8",
            "FLEXGATE_WEBHOOKS": json.dumps({"standard": {}, "okta": {}}),
        },
    )
    try:
        for _ in range(200):
            try:
                with ask(f"{gateway}/openapi.json") as answer:
                    served = json.load(answer)
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit("the gateway does not start")
        if served != json.loads(COMMITTED.read_text()):
            sys.exit("docs/openapi.json is not what the gateway serves: UPDATE=1 cargo test -p flexgate-cli openapi")
        service = bearer(simulator)
        dictionary(work / "page-tokens.dict", [page_token(gateway, service)])
        session_id = session(gateway)
        flex_token = token(gateway, session_id)
        dictionary(work / "flex-tokens.dict", [flex_token])
        dictionary(work / "people.dict", PEOPLE)
        dictionary(work / "callers.dict", [service])
        environment = {
            **os.environ,
            "SCHEMATHESIS_HOOKS": "hooks",
            "PYTHONPATH": str(HERE),
            "FLEXGATE_GATEWAY": gateway,
            "FLEXGATE_BEARER": service,
            "FLEXGATE_SESSION": session_id,
            "FLEXGATE_SCIM_TOKEN": (data / "scim-token").read_text().strip(),
            "FLEXGATE_WEBHOOK_KEY": webhook_key,
        }
        command = [Path(sys.executable).parent / "schemathesis", "run", f"{gateway}/openapi.json", *sys.argv[1:]]
        return subprocess.run(command, cwd=work, env=environment).returncode
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
