"""Who the judge is: a service with every scope, and a person who has signed in."""

import os

import schemathesis


@schemathesis.auth().apply_to(path_regex="^/(token|users)")
class Service:
    def get(self, case, context):
        return os.environ["FLEXGATE_BEARER"]

    def set(self, case, data, context):
        case.headers["authorization"] = f"Bearer {data}"


# Not at /sso/logout: that would end the session for every case after it.
@schemathesis.auth().apply_to(path="/sso/token")
class Person:
    def get(self, case, context):
        return os.environ["FLEXGATE_SESSION"]

    def set(self, case, data, context):
        case.cookies["__Host-flexgate-session"] = data


@schemathesis.hook
def before_call(context, case, **kwargs):
    """What a schema cannot say. The document's example of a token is no token: here it is the one of the person
    signed in. A page token is opaque: where valid data is wanted, one that was made up is left out."""
    if case.operation.path == "/sso/validate" and case.body == {"token": "eyJ6aXAiOiJERUYi"}:
        case.body = {"token": os.environ["FLEXGATE_TOKEN"]}
    if case.operation.path == "/users" and case.meta is not None and case.meta.generation.mode.is_positive:
        if isinstance(case.query, dict):
            case.query.pop("page_token", None)
