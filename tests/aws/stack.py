"""Deploys infra/template.yaml with the release bootstraps to a local AWS (ministack) and runs every flow through its
HTTP API. The simulator replaces Twilio.

    stack.py PACKAGED TARGET     PACKAGED is the output folder of infra/package.py; TARGET is the folder with the
                                 binary `flexgate` and the simulator, such as target/debug
"""

import base64
import datetime
import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

import boto3
import botocore.exceptions
from policies import Policies, statements
from test_template import resolved

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "infra"))
from package import FUNCTIONS, with_code  # noqa: E402

AWS, SIMULATOR, GUARD = 4577, 4578, 4579
PUBLIC = f"http://localhost:{AWS}"
ACCOUNT, TOKEN = "AC00000000000000000000000000000001", "fa4efa4efa4efa4efa4efa4efa4efa4e"
HOOK = "k7Qm2xVt9RzP4sWb8NcY"

passed = 0


def check(what, holds, seen=""):
    """Counts a check that passes. Ends the run if the check fails."""
    global passed
    if not holds:
        raise SystemExit(f"FAILED  {what}: {seen}")
    passed += 1
    print(f"ok      {what}", flush=True)


def call(port, method, path, body=None, headers=None, host=None):
    """Sends one request. Returns the status, the headers (a list of pairs) and the body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = dict(headers or {})
    if host:
        headers["Host"] = host
    if isinstance(body, dict):
        body, headers["Content-Type"] = json.dumps(body), "application/json"
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    return answer.status, answer.getheaders(), answer.read().decode()


def wait(what, ready, patience=60):
    until = time.monotonic() + patience
    while time.monotonic() < until:
        try:
            if ready():
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.2)
    raise SystemExit(f"FAILED  {what} did not happen in {patience} s")


def check_ports(*ports):
    """Ends the run if another program already listens at one of the ports. Otherwise, the tests would send requests to
    that program.
    """
    for port in ports:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                raise SystemExit(f"something already listens at port {port}: stop it, and run this again")


def template(packaged, bucket, s3):
    """Uploads the code, and returns the template with its addresses. Also turns canary deployments off, because the
    local AWS has no CodeDeploy. Changes the default of the parameter, because the local AWS ignores the given value.
    """
    text = (ROOT / "infra/template.yaml").read_text()
    text, times = re.subn(r"(  Canary:\n    Type: String\n    Default: )'true'", r"\1'false'", text)
    assert times == 1
    for name in FUNCTIONS:
        s3.upload_file(str(packaged / f"{name}.zip"), bucket, f"{name}.zip")
    return with_code(text, lambda name: f"s3://{bucket}/{name}.zip")


class Browser:
    """A browser that calls the API, stores cookies, and can sign in at the identity provider."""

    def __init__(self, api):
        self.api, self.cookies = api, {}

    def send(self, method, path, headers=None, body=None):
        headers = dict(headers or {})
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        status, answered, text = call(AWS, method, path, body, headers, self.api)
        for name, value in answered:
            if name.lower() == "set-cookie":
                key, cookie = value.split(";")[0].split("=", 1)
                self.cookies[key] = cookie
                if "max-age=0" in value.lower():
                    del self.cookies[key]
        return status, dict((name.lower(), value) for name, value in answered), text

    def sign_in(self, person):
        login = "/sso/default/login?return_to=/desk"
        status, headers, text = self.send("GET", login)
        check("login at another host goes to the public URL", headers.get("location", "").startswith(PUBLIC + login), text)
        status, headers, text = self.send("GET", headers["location"].removeprefix(PUBLIC))
        check("login answers 303", status == 303, text)
        at, form = headers["location"], None
        for _ in range(10):
            url = urllib.parse.urlsplit(at)
            assert url.hostname in ("localhost", "127.0.0.1"), at
            path = url.path + (f"?{url.query}" if url.query else "")
            kind = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
            status, headers, text = call(SIMULATOR, "POST" if form else "GET", path, form, kind)
            location = dict((name.lower(), value) for name, value in headers).get("location")
            form = None
            if location:
                at = urllib.parse.urljoin(at, location)
                if at.startswith(PUBLIC + "/sso/"):
                    url = urllib.parse.urlsplit(at)
                    return self.send("GET", f"{url.path}?{url.query}")
                continue
            field = re.search(r'name="request"[^>]*value="([^"]*)"', text).group(1)
            form = urllib.parse.urlencode({"request": field, "username": person})
            at = urllib.parse.urljoin(at, "/idp/authorize/decision")
        raise SystemExit("FAILED  signing in does not end")


def drive(outputs, clients):
    api = f"{outputs['ApiId']}.execute-api.localhost:{AWS}"
    browser = Browser(api)
    ours = {"Origin": PUBLIC, "x-flexgate": "1"}

    call(SIMULATOR, "POST", "/__sim/switches", {"sso_token_ttl_seconds": 120})
    status, _, text = browser.sign_in("ada")
    check("sign-in ends with a session", status == 303 and "__Host-flexgate-session" in str(browser.cookies), text)
    call(SIMULATOR, "POST", "/__sim/switches", {"sso_token_ttl_seconds": 3600})
    status, headers, text = browser.send("POST", "/sso/token", ours)
    check("the session gives a token", status == 200 and json.loads(text)["username"] == "ada", text)
    ends = datetime.datetime.fromisoformat(json.loads(text)["expires_at"].replace("Z", "+00:00"))
    left = ends - datetime.datetime.now(datetime.timezone.utc)
    check("and refreshed one that was about to end", left.total_seconds() > 1800, text)
    check("the answer has a request id", len(headers.get("x-request-id", "")) == 32, headers)
    flex = json.loads(text)["access_token"]
    status, _, text = browser.send("POST", "/sso/validate", body={"token": flex})
    check("the token validates", status == 200, text)
    status, _, text = browser.send("POST", "/sso/token", {"x-flexgate": "1", "Origin": "https://evil.example"})
    check("another site gets no token", status == 403, text)

    items = clients["dynamodb"].scan(TableName=outputs["TableName"])["Items"]
    kinds = sorted(item["pk"]["S"].split("#")[0] for item in items)
    check("the session is in the table, and can be found by its user", {"session", "session_list"} <= set(kinds), kinds)
    check("the table holds no token in clear", flex not in json.dumps(items, default=repr), "")

    claims = {"sub": "ada", "scope": "flexgate.token flexgate.users.write flexgate.users.read"}
    claims |= {"preferred_username": "ada", "username": "ada"}
    _, _, text = call(SIMULATOR, "POST", "/idp/__dev/token", claims)
    bearer = {"Authorization": "Bearer " + json.loads(text)["token"]}
    status, _, text = browser.send("POST", "/token", bearer, {"ttl": 600})
    refused = status in (401, 403, 404)
    check("a token is not minted before the credential is there", status == 503 or refused, (status, text))

    clients["secretsmanager"].put_secret_value(
        SecretId=outputs["TwilioSecretArn"], SecretString=json.dumps({"accountSid": ACCOUNT, "authToken": TOKEN})
    )
    wait("the forced refresh of the secret", lambda: browser.send("GET", "/users?page_size=5", bearer)[0] == 200, 120)
    user = {"username": "katherine", "email": "katherine@example.com", "full_name": "Katherine Johnson"}
    status, _, text = browser.send("POST", "/users", bearer, user | {"roles": ["agent"], "worker": {}})
    check("a user is provisioned", status == 201, text)
    sid = json.loads(text)["flex_user_sid"]
    status, _, text = browser.send("GET", f"/users/{sid}", bearer)
    check("and read", status == 200 and json.loads(text)["username"] == "katherine", text)
    wait("mint's refresh of the secret", lambda: browser.send("POST", "/token", bearer, {"ttl": 600})[0] == 201, 120)
    status, _, text = browser.send("POST", "/token", bearer, {"ttl": 600})
    check("a token is minted for the caller", status == 201 and json.loads(text)["access_token"], text)
    status, _, text = browser.send("POST", "/token", {}, {"ttl": 600})
    check("nobody else gets one", status == 401, text)
    status, _, text = browser.send("DELETE", f"/users/{sid}", bearer)
    check("the user is deprovisioned", status == 204, text)

    clients["secretsmanager"].put_secret_value(
        SecretId=outputs["WebhookSecretsArn"], SecretString=json.dumps({"okta": HOOK})
    )
    event = {
        "uuid": "e1", "published": "2026-01-01T09:00:00.000Z", "eventType": "user.lifecycle.create",
        "outcome": {"result": "SUCCESS"},
        "target": [{"type": "User", "id": "00u1", "alternateId": "barbara@example.com", "displayName": "Barbara Liskov"}],
    }
    delivery = {"data": {"events": [event]}}
    status, _, text = browser.send("POST", "/webhooks/okta", {"Authorization": "wrong-" + HOOK}, delivery)
    check("a forged webhook is refused", status == 401, (status, text))
    status, _, text = browser.send("POST", "/webhooks/okta", {"Authorization": HOOK}, delivery)
    check("a webhook is accepted", status == 202, (status, text))
    known = lambda: "barbara@example.com" in call(SIMULATOR, "GET", "/__sim/users")[2]  # noqa: E731
    wait("the webhook's way through SQS to apply", known, 60)
    check("and applied to Flex through SQS", known())
    gone = event | {"uuid": "e2", "published": "2026-01-01T09:05:00.000Z", "eventType": "user.lifecycle.deactivate"}
    browser.send("POST", "/webhooks/okta", {"Authorization": HOOK}, {"data": {"events": [gone]}})
    cleared = gone | {"uuid": "session-1", "eventType": "user.session.clear"}
    browser.send("POST", "/webhooks/okta", {"Authorization": HOOK}, {"data": {"events": [cleared]}})

    def deactivated():
        users = json.loads(call(SIMULATOR, "GET", "/__sim/users")[2])["users"]
        return any(user["username"] == "barbara@example.com" and user["deactivated"] for user in users)

    wait("the deactivation", deactivated, 60)
    check("who leaves is deactivated through SQS", deactivated())
    retried(browser, event)
    left = clients["sqs"].get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
    check("the queue is first in, first out", left["FifoQueue"] == "true", left)

    leaver(browser, bearer)
    newcomers(browser)
    scim(browser, outputs, clients)
    sweep(clients)
    dead_letters(outputs, clients)
    sessions(browser)
    signals(browser)

    status, _, text = browser.send("POST", "/sso/logout", ours)
    check("signing out answers 204", status == 204, text)
    status, _, text = browser.send("POST", "/sso/token", ours)
    check("and the session is over", status == 401, text)


def retried(browser, event):
    """If Twilio fails during a deactivation, Flexgate retries the deactivation within seconds, and not only after the
    queue's visibility timeout of six minutes. The person's next event is applied afterwards.
    """

    def deliver(number, kind):
        target = {"type": "User", "id": "00u2", "alternateId": "frances@example.com", "displayName": "Frances Allen"}
        one = event | {"uuid": f"f{number}", "published": f"2026-01-01T10:0{number}:00.000Z", "eventType": kind, "target": [target]}
        status, _, text = browser.send("POST", "/webhooks/okta", {"Authorization": HOOK}, {"data": {"events": [one]}})
        check(f"{kind} is accepted", status == 202, (status, text))

    def is_active():
        users = json.loads(call(SIMULATOR, "GET", "/__sim/users")[2])["users"]
        return [not user["deactivated"] for user in users if user["username"] == "frances@example.com"]

    deliver(1, "user.lifecycle.create")
    wait("frances's creation", lambda: is_active() == [True])
    # In each attempt to apply an event, Flexgate sends a failing request up to three times. So these three errors make
    # the first attempt fail.
    call(SIMULATOR, "POST", "/__sim/faults", {"service": "flex-api", "kind": "status", "status": 503, "times": 3})
    deliver(2, "user.lifecycle.deactivate")
    wait("frances's deactivation, after an error of Twilio", lambda: is_active() == [False], 30)
    (fault,) = json.loads(call(SIMULATOR, "GET", "/__sim/faults")[2])["faults"]
    check("the deactivation met the error and was retried", fault["hits"] == 3, fault)
    call(SIMULATOR, "DELETE", "/__sim/faults")
    deliver(3, "user.lifecycle.create")
    wait("the event after the one that failed", lambda: is_active() == [True], 30)


def leaver(browser, bearer):
    """Twilio's SSO reactivates a user who has left. Flexgate must not give them a session, and must deactivate the
    user again without waiting for a sweep.
    """

    def is_active():
        users = json.loads(call(SIMULATOR, "GET", "/__sim/users")[2])["users"]
        return next(not user["deactivated"] for user in users if user["username"] == "grace")

    user = {"username": "grace", "email": "grace@example.com", "full_name": "Grace Hopper", "roles": ["agent"]}
    status, _, text = browser.send("POST", "/users", bearer, user)
    check("somebody is provisioned who will leave", status in (200, 201), (status, text))
    status, _, text = browser.send("DELETE", f"/users/{json.loads(text)['flex_user_sid']}", bearer)
    check("and leaves", status == 204 and not is_active(), text)
    status, _, text = Browser(browser.api).sign_in("grace")
    check("a leaver gets no session", status == 403, (status, text))
    wait("the deactivation of whom Twilio's SSO brought back", lambda: not is_active())


def sessions(browser):
    """With one session per person, a second sign-in ends the first session. An administrator can list and end
    sessions.
    """
    ours = {"Origin": PUBLIC, "x-flexgate": "1"}
    _, _, text = call(SIMULATOR, "POST", "/idp/__dev/token", {"sub": "desk", "scope": "flexgate.sessions.read flexgate.sessions.write"})
    bearer = {"Authorization": "Bearer " + json.loads(text)["token"]}
    other = Browser(browser.api)
    status, _, text = other.sign_in("ada")
    check("ada signs in in another browser", status == 303, text)
    status, _, text = browser.send("POST", "/sso/token", ours)
    check("the first browser is told", status == 401 and json.loads(text)["code"] == "signed_in_elsewhere", text)
    status, _, text = browser.send("GET", "/sessions", bearer)
    mine = [one for one in json.loads(text)["sessions"] if one["username"] == "ada"]
    check("one session of ada is listed", status == 200 and len(mine) == 1, text)
    path = f"/users/{mine[0]['flex_user_sid']}/sessions"
    status, _, text = browser.send("GET", path, bearer)
    check("and is in the list of the user", status == 200 and json.loads(text)["sessions"] == mine, text)
    status, _, text = browser.send("DELETE", f"/sessions/{mine[0]['id']}?reason=test", bearer)
    check("an administrator ends it", status == 204, text)
    status, _, text = other.send("POST", "/sso/token", ours)
    check("and the page gets no token any more", status == 401, text)
    status, _, text = browser.send("DELETE", path, bearer)
    check("the user's other sessions end too", status == 200 and json.loads(text)["ended"] == 1, text)
    time.sleep(1.1)  # A login of the same second would have to be started again.


def signals(browser):
    """The identity provider ends ada's sessions, first by a security event, and then by a request to end all
    sessions.
    """
    ours = {"Origin": PUBLIC, "x-flexgate": "1"}

    def signed(typ, audience, **claims):
        claims |= {"header": {"typ": typ}, "aud": audience}
        return json.loads(call(SIMULATOR, "POST", "/idp/__dev/token", claims)[2])["token"]

    def refused(one):
        return one.send("POST", "/sso/token", ours)[0] == 401

    def revoke(token, subject):
        headers = {"Authorization": "Bearer " + token}
        return browser.send("POST", "/webhooks/logout", headers, {"sub_id": subject})

    _, _, text = call(SIMULATOR, "GET", "/idp/.well-known/openid-configuration")
    issuer = json.loads(text)["issuer"]
    ada = {"format": "iss_sub", "iss": issuer, "sub": "ada"}
    one = Browser(browser.api)
    one.sign_in("ada")
    check("ada has a session", not refused(one))
    time.sleep(1.1)  # Sessions and events have times in whole seconds.
    kind = "https://schemas.openid.net/secevent/caep/event-type/session-revoked"
    event = signed("secevent+jwt", "signals", sub=None, exp=None, sub_id=ada, events={kind: {}})
    status, _, text = call(
        AWS, "POST", "/webhooks/signals", event, {"Content-Type": "application/secevent+jwt"}, browser.api
    )
    check("a security event is accepted", (status, text) == (202, ""), (status, text))
    wait("the end of ada's session", lambda: refused(one))
    time.sleep(1.1)
    one.sign_in("ada")
    check("ada signs in again", not refused(one))
    time.sleep(1.1)
    token = signed("global-token-revocation+jwt", "logout", sub=None)
    status, _, text = revoke(token, ada)
    check("a request to end ada's sessions is accepted", (status, text) == (204, ""), (status, text))
    wait("the end of ada's new session", lambda: refused(one))
    check("the same request is accepted again", revoke(token, ada)[0] == 204)
    check("but not for somebody else", revoke(token, ada | {"sub": "eve"})[0] == 401)
    nobody = {"format": "email", "email": "nobody@example.com"}
    check("nobody is known under another name", revoke(signed("global-token-revocation+jwt", "logout", sub=None), nobody)[0] == 404)
    claims = {"sub": "ada", "scope": "flexgate.token", "preferred_username": "ada", "username": "ada"}
    _, _, text = call(SIMULATOR, "POST", "/idp/__dev/token", claims | {"iat": int(time.time()) - 60})
    status, _, text = browser.send("POST", "/token", {"Authorization": "Bearer " + json.loads(text)["token"]}, {"ttl": 600})
    check("an older token mints nothing", status == 401 and json.loads(text)["code"] == "signed_out", text)


def newcomers(browser):
    """A mint creates a new user just in time. It must not reactivate a user who has left, although Twilio's search
    does not show that user and Twilio's provisioning would reactivate them.
    """

    def mint(subject, username):
        claims = {"sub": subject, "scope": "flexgate.token", "preferred_username": username, "username": username,
                  "email": f"{username}@example.com", "email_verified": True, "name": username.title()}
        _, _, text = call(SIMULATOR, "POST", "/idp/__dev/token", claims)
        return browser.send("POST", "/token", {"Authorization": "Bearer " + json.loads(text)["token"]}, {"ttl": 600})

    def at_twilio(path, body):
        basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        path = f"/flex-api/v4/Instances/GO00000000000000000000000000000001/Users/{path}"
        status, _, text = call(SIMULATOR, "POST", path, body, {"Authorization": f"Basic {basic}"})
        assert status < 300, text
        return json.loads(text) if text else None

    def is_active(username):
        users = json.loads(call(SIMULATOR, "GET", "/__sim/users")[2])["users"]
        return [not user["deactivated"] for user in users if user["username"] == username]

    status, _, text = mint("emmy", "emmy")
    check("a newcomer is made and gets a token", status == 201 and is_active("emmy") == [True], text)
    user = {"username": "lise", "email": "lise@example.com", "full_name": "Lise Meitner", "roles": ["agent"], "worker": {}}
    sid = at_twilio("Provision", user)["flex_user_sid"]
    status, _, text = mint("lise", "lise")
    check("a user of that name is bound", status == 201, text)
    time.sleep(6)  # Twilio's dates have whole seconds, and must show that the user existed before the next mint.
    at_twilio("Deprovision", {"flex_user_sid": sid})
    call(SIMULATOR, "POST", "/__sim/switches", {"find_returns_deactivated": False})
    status, _, text = mint("another-lise", "lise")
    check("nobody is brought back by a mint", status == 403 and is_active("lise") == [False], (status, text))
    call(SIMULATOR, "POST", "/__sim/switches", {"find_returns_deactivated": True})


def scim(browser, outputs, clients):
    """An identity system creates, changes and deletes a user and a group through SCIM."""
    made = subprocess.run([TARGET / "flexgate", "scim", "token", "--id", "okta-1"], capture_output=True, text=True, check=True).stdout
    token = re.search(r"fgscim_[\w-]+", made).group(0)
    hashes = next(line.strip() for line in made.splitlines() if line.strip().startswith("{"))
    clients["secretsmanager"].put_secret_value(SecretId=outputs["ScimTokensArn"], SecretString=hashes)
    bearer = {"Authorization": f"Bearer {token}"}

    def ask(method, path, body=None, expect=200):
        status, _, text = browser.send(method, "/scim/v2" + path, bearer, body)
        check(f"SCIM {method} {re.sub('[A-Z]{2}[0-9a-f]{32}|fggrp_[0-9a-f]+', '{id}', path)} is {expect}", status == expect, (status, text))
        return json.loads(text) if text else None

    status, _, text = browser.send("GET", "/scim/v2/Users", {"Authorization": "Bearer fgscim_" + "x" * 43})
    check("SCIM with a token that is none is refused", status == 401, (status, text))
    schema = "urn:ietf:params:scim:schemas:core:2.0:"
    person = {"schemas": [schema + "User"], "userName": "hedy@example.com", "externalId": "00u9", "active": True,
              "name": {"givenName": "Hedy", "familyName": "Lamarr"}, "displayName": "Hedy Lamarr",
              "emails": [{"value": "hedy@example.com", "primary": True, "type": "work"}]}
    user = ask("POST", "/Users", person, 201)
    found = ask("GET", "/Users?filter=" + urllib.parse.quote('userName eq "HEDY@example.com"'))
    check("and is found whatever the case of the name", [one["id"] for one in found["Resources"]] == [user["id"]], found)
    found = ask("GET", "/Users?filter=" + urllib.parse.quote('externalId eq "00u9"'))
    check("and by its externalId", [one["id"] for one in found["Resources"]] == [user["id"]], found)
    listed = ask("GET", "/Users?startIndex=1&count=3")
    more = ask("GET", f"/Users?startIndex=4&count=100")
    check("users from elsewhere are listed", listed["totalResults"] == 3 + len(more["Resources"]), (listed, more))
    group = ask("POST", "/Groups", {"schemas": [schema + "Group"], "displayName": "Callers",
                                    "members": [{"value": user["id"]}]}, 201)
    shown = ask("GET", f"/Users/{user['id']}")
    check("a member shows its group", [one["value"] for one in shown["groups"]] == [group["id"]], shown)
    patch = {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
             "Operations": [{"op": "replace", "path": "active", "value": False}]}
    check("a user is deactivated", ask("PATCH", f"/Users/{user['id']}", patch)["active"] is False)
    ask("DELETE", f"/Groups/{group['id']}", expect=204)
    # A group with this many members makes Flexgate use the queue. Most of these members do not exist at Twilio, and
    # Flexgate must not create users for them.
    members = [{"value": user["id"]}, *({"value": f"FU{number:032x}"} for number in range(1, 12))]
    ask("POST", "/Groups", {"schemas": [schema + "Group"], "displayName": "Leads", "members": members}, 201)
    patch["Operations"][0]["value"] = True
    ask("PATCH", f"/Users/{user['id']}", patch)

    def roles():
        users = json.loads(call(SIMULATOR, "GET", "/__sim/users")[2])["users"]
        return next(one["roles"] for one in users if one["username"] == "hedy@example.com")

    wait("the role of a group of many, through the queue", lambda: roles() == ["agent", "supervisor"])
    ask("DELETE", f"/Users/{user['id']}", expect=204)
    ask("GET", f"/Users/{user['id']}", expect=404)


def sweep(clients):
    """Twilio's SSO reactivates a user who has left. The scheduled sweep finds the user, and `apply` deactivates them
    again.
    """
    basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    user = {"username": "hedy@example.com", "email": "hedy@example.com", "full_name": "Hedy Lamarr", "roles": ["agent"], "worker": {}}
    path = "/flex-api/v4/Instances/GO00000000000000000000000000000001/Users/Provision"
    assert call(SIMULATOR, "POST", path, user, {"Authorization": f"Basic {basic}"})[0] < 300

    def is_active():
        users = json.loads(call(SIMULATOR, "GET", "/__sim/users")[2])["users"]
        return next(not one["deactivated"] for one in users if one["username"] == "hedy@example.com")

    check("a leaver is back", is_active())
    answer = clients["lambda"].invoke(FunctionName="flexgate-sweep", Payload=b"{}")
    found = json.loads(answer["Payload"].read())
    check("the sweep finds them", "FunctionError" not in answer and found.get("inactive_but_active", 0) >= 1, found)
    wait("the leaver's deactivation, through the queue", lambda: not is_active())


def dead_letters(outputs, clients):
    """An operator lists the messages that could not be applied, and retries one of them."""
    surroundings = os.environ | {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{AWS}", "AWS_REGION": "us-east-1",
        "FLEXGATE_STORE": f"dynamodb:{outputs['TableName']}", "FLEXGATE_QUEUE": f"sqs:{outputs['QueueUrl']}",
    }

    def events(*arguments):
        done = subprocess.run([TARGET / "flexgate", "events", *arguments], env=surroundings, capture_output=True, text=True)
        check(f"flexgate events {arguments[0]}", done.returncode == 0, done.stderr)
        return done.stdout

    def letters():
        items = clients["dynamodb"].scan(TableName=outputs["TableName"], ConsistentRead=True)["Items"]
        return [item for item in items if "not-one-of-ours" in json.dumps(item, default=repr)]

    check("nothing is a dead letter yet", events("list").strip() == "0 could not be applied")
    clients["sqs"].send_message(
        QueueUrl=outputs["QueueUrl"], MessageBody="not-one-of-ours", MessageGroupId="g", MessageDeduplicationId="d"
    )
    wait("the dead letter", letters)
    first = events("list").splitlines()
    check("it is listed with its reason", len(first) == 2 and "none of Flexgate's" in first[0], first)
    key = first[0].split()[0]
    check("it is shown whole", json.loads(events("show", key))["message"] == "not-one-of-ours")
    time.sleep(1.1)  # Only the dead letter's time, in whole seconds, tells the second verdict from the first.
    check("it is put back", events("retry", key).strip() == "1 back in the queue")
    wait("apply's second verdict", letters)
    again = events("list").splitlines()
    check("it went through SQS and apply again", again[0].split()[0] == key and again[0] != first[0], again)

    def noted(*arguments):
        return subprocess.run([TARGET / "flexgate", *arguments], env=surroundings, capture_output=True, text=True).stdout

    # The webhooks function cannot write to the table. It sends its notes to the queue, and `apply` stores them.
    wait("the note about the refused delivery", lambda: "delivery_unproven" in noted("activity", "--refused"))
    check("the refused SCIM token is noted too", "token_invalid" in noted("activity", "--refused"))
    wait("the note about the ignored event", lambda: "user.session.clear" in noted("events", "ignored"))


def main(packaged, target):
    global TARGET
    TARGET = target
    check_ports(AWS, SIMULATOR, GUARD)
    work = pathlib.Path(tempfile.mkdtemp(prefix="flexgate-stack-"))
    os.environ |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    # lambda_http panics on a host name such as {api}.execute-api.127.0.0.1, so use localhost.
    surroundings = os.environ | {
        "BIND_HOST": "127.0.0.1", "IOT_MTLS_ENABLED": "0", "AWS_ENDPOINT_URL": f"http://127.0.0.1:{GUARD}",
        "GATEWAY_PORT": str(AWS), "MINISTACK_HOST": "localhost", "HOME": str(work),
    }
    log = open(work / "log", "w")
    # Read the roles with the template's default parameters. The stack below has other parameters. Its roles are the
    # same, because every condition in the roles is false with either set of parameters.
    exist = resolved().exist("AWS::IAM::Role")
    roles = {name.lower(): list(statements(exist[f"{name}ExecutionRole"])) for name in FUNCTIONS}
    names = {}
    policies = Policies(AWS, lambda function: roles.get(function, []), names)
    guard = policies.start(GUARD)
    processes = []
    try:
        simulator = [target / "examples/serve", f"127.0.0.1:{SIMULATOR}", "127.0.0.1:0", work / "simulator", f"{PUBLIC}/sso/default/callback"]
        processes.append(subprocess.Popen(simulator, stdout=log, stderr=log))
        ministack = pathlib.Path(sys.executable).parent / "ministack"
        processes.append(subprocess.Popen([ministack], env=surroundings, stdout=log, stderr=log, cwd=work, start_new_session=True))
        wait("the simulator's start", lambda: call(SIMULATOR, "GET", "/__sim")[0] == 200)
        wait("the local AWS's start", lambda: call(AWS, "GET", "/_ministack/health")[0] < 500)
        endpoint = f"http://127.0.0.1:{AWS}"
        clients = {name: boto3.client(name, endpoint_url=endpoint)
                   for name in ("s3", "cloudformation", "secretsmanager", "dynamodb", "sqs", "logs", "lambda")}
        clients["s3"].create_bucket(Bucket="code")
        issuer = f"http://localhost:{SIMULATOR}/idp"
        _, _, found = call(SIMULATOR, "GET", "/idp/.well-known/openid-configuration")
        issuer = json.loads(found)["issuer"]
        parameters = {
            "TwilioAccountSid": ACCOUNT, "TwilioInstanceSid": "GO00000000000000000000000000000001",
            "TwilioUrl": f"http://localhost:{SIMULATOR}", "PublicUrl": PUBLIC, "Canary": "false",
            "DefaultReturnTo": "/desk", "SessionPolicies": json.dumps({"default": {"sessions_per_person": 1}}),
            "SsoProfiles": "default=JQ00000000000000000000000000000001", "Architecture": "x86_64", "JustInTime": "create",
            "ScimGroupRoles": '{"Leads": "supervisor"}',
            # The source `okta` has an issuer. So Flexgate binds each user that it creates from an event to an identity,
            # and later removes the binding. Both changes need IAM permissions.
            "WebhookSources": json.dumps({
                "okta": {"issuer": "https://okta.example.com"},
                "signals": {"kind": "ssf", "transmitter": issuer, "audience": "signals", "people_of": "okta"},
                "logout": {"kind": "global-token-revocation", "transmitter": issuer, "audience": "logout"},
            }),
            "Issuers": json.dumps([{"issuer": issuer, "audiences": ["flexgate"], "roles_claim": "roles"}]),
        }
        formation = clients["cloudformation"]
        # The template is too long to be part of the request, so upload it to S3.
        body = template(packaged, "code", clients["s3"]).encode()
        clients["s3"].put_object(Bucket="code", Key="template.yaml", Body=body)
        formation.create_stack(
            StackName="flexgate", TemplateURL=f"{endpoint}/code/template.yaml",
            Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
            Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
        )
        stack = lambda: formation.describe_stacks(StackName="flexgate")["Stacks"][0]  # noqa: E731
        wait("the stack", lambda: not stack()["StackStatus"].endswith("IN_PROGRESS"), 120)
        if stack()["StackStatus"] != "CREATE_COMPLETE":
            for event in formation.describe_stack_events(StackName="flexgate")["StackEvents"]:
                if "FAILED" in event["ResourceStatus"]:
                    print(event["LogicalResourceId"], event.get("ResourceStatusReason"))
        check("the stack is up", stack()["StackStatus"] == "CREATE_COMPLETE", stack()["StackStatus"])
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack()["Outputs"]}
        listed = formation.describe_stack_resources(StackName="flexgate")["StackResources"]
        names.update({re.split(r"[:/]", one["PhysicalResourceId"])[-1]: one["LogicalResourceId"] for one in listed})
        drive(outputs, clients)
        check("no function did what its role does not allow", not policies.refused, policies.refused)
        for name, allowed in roles.items():
            used = policies.used.get(name, set())
            actions = {action for one in allowed for action in one.actions if action.split(":")[0] in ("dynamodb", "secretsmanager")}
            # The function's own code uses only these two permissions for queues. Lambda uses the other permissions to
            # deliver messages to the function.
            own = ("sqs:SendMessage", "sqs:ChangeMessageVisibility")
            actions |= {action for one in allowed for action in one.actions if action in own}
            used_actions = {action for action, _ in used}
            check(f"{name} used all actions that its role allows", actions == used_actions, actions ^ used_actions)
            unused = {(action, key) for one in allowed for action in one.actions for key in one.keys or ()} - used
            print(f"        without a use in this test: {', '.join(f'{action} {key}' for action, key in sorted(unused)) or 'nothing'}")
        print(f"stack: {passed} checks passed")
    except BaseException:
        log.flush()
        print((work / "log").read_text()[-6000:], file=sys.stderr)
        for name in FUNCTIONS:
            try:
                found = formation.describe_stack_resource(StackName="flexgate", LogicalResourceId=f"{name}Logs")
                group = found["StackResourceDetail"]["PhysicalResourceId"]
                events = clients["logs"].filter_log_events(logGroupName=group)
                print(*(event["message"] for event in events["events"][-12:]), sep="\n", file=sys.stderr)
            except (NameError, botocore.exceptions.ClientError):
                pass
        raise
    finally:
        guard.shutdown()
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve())
