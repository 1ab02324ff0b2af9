"""Who the judge is: a service with every scope, and a person who has signed in."""

import os

import schemathesis


@schemathesis.auth().apply_to(path_regex="^/(token|users)")
class Service:
    def get(self, case, context):
        return os.environ["FLEXGATE_BEARER"]

    def set(self, case, data, context):
        case.headers["authorization"] = f"Bearer {data}"


# Logging out would end the session for every case after it: only its own cases are without one.
@schemathesis.auth().apply_to(path="/sso/token")
class Person:
    def get(self, case, context):
        return os.environ["FLEXGATE_SESSION"]

    def set(self, case, data, context):
        case.cookies["__Host-flexgate-session"] = data
