"""The callers that Schemathesis acts as: a service with every scope, an identity system, a signed-in person, a
browser in the middle of a login, and a webhook source. Also checks that DELETE does what the OpenAPI document
promises.
"""

import base64
import hashlib
import hmac
import os
import time
import urllib.parse
import urllib.request

import requests
import schemathesis


class Bearer:
    def get(self, case, context):
        return os.environ[self.variable]

    def set(self, case, data, context):
        case.headers["authorization"] = f"Bearer {data}"


@schemathesis.auth().apply_to(path_regex="^/(token|users)")
class Service(Bearer):
    variable = "FLEXGATE_BEARER"


@schemathesis.auth().apply_to(path_regex="^/scim/v2/")
class IdentitySystem(Bearer):
    variable = "FLEXGATE_SCIM_TOKEN"


# Never send this session to /sso/logout, because later cases need the session.
@schemathesis.auth().apply_to(path="/sso/token")
class Person:
    def get(self, case, context):
        return os.environ["FLEXGATE_SESSION"]

    def set(self, case, data, context):
        case.cookies["__Host-flexgate-session"] = data


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_303(self, request, answer, *_):
        return answer


@schemathesis.auth(refresh_interval=None).apply_to(path="/sso/{profile}/callback")
class Browser:
    """Begins a login for each case, because a code can be exchanged only once. The `state` must match the login's
    cookie.
    """

    def get(self, case, context):
        url = f"{os.environ['FLEXGATE_GATEWAY']}/sso/default/login?return_to=/"
        with urllib.request.build_opener(NoRedirect).open(url, timeout=10) as answer:
            asked = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
            return answer.headers["set-cookie"].split(";")[0].split("=", 1), asked["state"][0]

    def set(self, case, data, context):
        (name, cookie), state = data
        case.cookies[name] = cookie
        if case.meta is not None and case.meta.generation.mode.is_positive:
            case.query["state"] = state


@schemathesis.auth(refresh_interval=None).apply_to(path="/webhooks/{source}", method="POST")
class Source:
    """Signs the exact bytes that will be sent, as Standard Webhooks specifies."""

    def get(self, case, context):
        return base64.b64decode(os.environ["FLEXGATE_WEBHOOK_KEY"])

    def set(self, case, data, context):
        kwargs = case.as_transport_kwargs(base_url=os.environ["FLEXGATE_GATEWAY"])
        body = requests.Request(**kwargs).prepare().body or b""
        body = body.encode() if isinstance(body, str) else body
        name, now = hashlib.sha256(body).hexdigest(), str(int(time.time()))
        tag = hmac.digest(data, f"{name}.{now}.".encode() + body, "sha256")
        case.headers["webhook-id"], case.headers["webhook-timestamp"] = name, now
        case.headers["webhook-signature"] = f"v1,{base64.b64encode(tag).decode()}"


DEPROVISIONED = set()


@schemathesis.check
def deprovisioned_users_stay(ctx, response, case):
    """Checks that after DELETE /users/{flex_user_sid}, GET shows the user as deactivated until somebody provisions the
    user again.
    """
    if not 200 <= response.status_code < 300:
        return
    if case.operation.label == "DELETE /users/{flex_user_sid}":
        DEPROVISIONED.add(case.path_parameters["flex_user_sid"].lower())
    elif case.method in ("POST", "PUT", "PATCH") and response.content:
        document = response.json()
        DEPROVISIONED.discard(str(document.get("flex_user_sid", document.get("id"))).lower())
    elif case.operation.label == "GET /users/{flex_user_sid}":
        user = response.json()
        if user["flex_user_sid"].lower() in DEPROVISIONED:
            assert user["deactivated"] is True, "a deprovisioned user is not shown as deactivated"
            assert user["worker_sid"] is None, "a deprovisioned user is shown with a worker"
