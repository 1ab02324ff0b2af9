"""The mint in Python, for a comparison with Flexgate. It verifies the caller's JWT, reads the Twilio credential, finds
the Flex user, and mints and checks a token. It has the same caches as Flexgate, but it does not count
mints and has no store."""

import datetime
import http.client
import json
import os
import time

import boto3
import jwt
import requests

ENV = os.environ
ACCOUNT, INSTANCE = ENV["TWILIO_ACCOUNT_SID"], ENV["TWILIO_INSTANCE_SID"]
KEYS = jwt.PyJWKClient(ENV["JWKS"], cache_keys=True, lifespan=300)
SECRETS = boto3.client("secretsmanager")
SESSION = requests.Session()
ROLES = {"agent", "supervisor"}
held = None
seen = {}


class Refused(Exception):
    def __init__(self, status, code):
        super().__init__(code)
        self.status = status


def credential():
    global held
    if held is None or time.monotonic() - held[0] > 300:
        document = json.loads(SECRETS.get_secret_value(SecretId=ENV["TWILIO_SECRET_ID"])["SecretString"])
        if document["accountSid"] != ACCOUNT:
            raise ValueError("the credential is another account's")
        held = (time.monotonic(), (document["accountSid"], document["authToken"]))
    return held[1]


def twilio(method, path, **arguments):
    url = f"{ENV['TWILIO_URL']}/flex-api/v4/Instances/{INSTANCE}/{path}"
    response = SESSION.request(method, url, auth=credential(), timeout=3, allow_redirects=False, **arguments)
    if not response.ok:
        raise ValueError(f"Twilio answered {response.status_code}")
    return response.json()


def user_of(username):
    known = seen.get(username)
    if known and time.monotonic() - known[0] < 60:
        return known[1]
    users = twilio("GET", "Users", params={"Username": username})["users"]
    user = next((one for one in users if one["username"] == username), None)
    if user is None or user.get("deactivated_date"):
        raise Refused(403, "user_unknown")
    seen[username] = (time.monotonic(), user)
    return user


def mint(bearer, body):
    try:
        key = KEYS.get_signing_key_from_jwt(bearer)
        claims = jwt.decode(bearer, key, algorithms=["RS256"], audience="flexgate", issuer=ENV["ISSUER"], leeway=60)
    except jwt.PyJWTError:
        raise Refused(401, "token_invalid") from None
    if "flexgate.token" not in claims.get("scope", "").split():
        raise Refused(403, "scope_missing")
    ttl = json.loads(body).get("ttl", 3600) if body else 3600
    if not isinstance(ttl, int) or not 60 <= ttl <= 3600:
        raise Refused(400, "ttl")
    user = user_of(claims["preferred_username"])
    if not ROLES.issuperset(user["roles"]):
        raise Refused(403, "role_not_allowed")
    asked = time.time()
    minted = twilio("POST", f"Users/{user['flex_user_sid']}/Tokens", json={"ttl": ttl})
    info = minted["token_info"]
    right = (
        info["account_sid"] == ACCOUNT
        and info["flex_instance_sid"] == INSTANCE
        and info["flex_user_sid"] == user["flex_user_sid"]
        and set(info["roles"]) <= set(user["roles"])
        and datetime.datetime.fromisoformat(info["expiration"]).timestamp() <= asked + ttl + 60
    )
    if not right:
        raise ValueError("Twilio minted another token than was asked for")
    return {"access_token": minted["access_token"], "expires_at": info["expiration"], "token_info": info}


def answer(event):
    try:
        scheme, _, bearer = event["headers"].get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused(401, "token_missing")
        status, body = 201, mint(bearer.strip(), event.get("body"))
        print(json.dumps({"level": "INFO", "action": "mint", "subject": body["token_info"]["flex_user_sid"]}), flush=True)
    except Refused as refused:
        status, body = refused.status, {"code": str(refused)}
    except Exception as error:
        print(json.dumps({"level": "WARN", "action": "mint", "error": str(error)}), flush=True)
        status, body = 502, {"code": "twilio_unavailable"}
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(body)}


def main():
    api = http.client.HTTPConnection(ENV["AWS_LAMBDA_RUNTIME_API"])
    while True:
        api.request("GET", "/2018-06-01/runtime/invocation/next")
        response = api.getresponse()
        invocation = response.headers["lambda-runtime-aws-request-id"]
        answered = answer(json.loads(response.read()))
        api.request("POST", f"/2018-06-01/runtime/invocation/{invocation}/response", json.dumps(answered))
        api.getresponse().read()


main()
