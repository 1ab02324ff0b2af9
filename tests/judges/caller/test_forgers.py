"""Forges tokens of every kind with PyJWT, and checks that the gateway refuses each token.

FLEXGATE_BIN names the binary `flexgate`. The tests start it on free ports.
"""

import base64
import hashlib
import hmac
import http.server
import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.request

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

AUDIENCE = "flexgate"
Encoding, PublicFormat = serialization.Encoding, serialization.PublicFormat


def b64(value) -> str:
    data = value if isinstance(value, bytes) else (value if isinstance(value, str) else json.dumps(value)).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Issuer:
    """An issuer on loopback that serves its discovery document and its keys."""

    def __init__(self):
        self.keys = {
            "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
            "ES256": ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate(),
        }
        jwks = []
        for alg, to_jwk in [("RS256", RSAAlgorithm), ("ES256", ECAlgorithm), ("EdDSA", OKPAlgorithm)]:
            jwk = json.loads(to_jwk.to_jwk(self.keys[alg].public_key()))
            jwks.append({**jwk, "alg": alg, "kid": alg, "use": "sig"})
        # The issuer publishes this key too, but the gateway must reject it as too weak.
        self.keys["weak"] = rsa.generate_private_key(public_exponent=65537, key_size=1024)
        jwks.append({**json.loads(RSAAlgorithm.to_jwk(self.keys["weak"].public_key())), "alg": "RS256", "kid": "weak"})
        self.asked: list[str] = []
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked.append(self.path)
                documents = {
                    "/.well-known/openid-configuration": {"issuer": issuer.name, "jwks_uri": f"{issuer.name}/jwks"},
                    "/jwks": {"keys": jwks},
                }
                document = documents.get(self.path)
                body = json.dumps(document or {}).encode()
                self.send_response(200 if document else 404)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.name = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


class Gateway:
    """The binary `flexgate` with its simulated Twilio."""

    def __init__(self, issuers):
        self.folder = tempfile.mkdtemp(prefix="flexgate-judge-")
        self.url = f"http://localhost:{(port := free_port())}"
        ports = ["--port", port, "--simulator-port", free_port(), "--tls-port", free_port()]
        self.process = subprocess.Popen(
            [os.environ["FLEXGATE_BIN"], "serve", *map(str, ports), "--data-dir", self.folder],
            env={
                **os.environ,
                "FLEXGATE_ISSUERS": json.dumps(issuers),
                "FLEXGATE_MINTS_PER_MINUTE": "1000",
                "FLEXGATE_TRUSTED_NETWORKS": "127.0.0.0/8",
            },
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
                return
            except OSError:
                time.sleep(0.05)
        self.stop()
        raise AssertionError("the gateway does not start")

    def mint(self, bearer: str):
        headers = {"authorization": f"Bearer {bearer}", "content-type": "application/json"}
        request = urllib.request.Request(f"{self.url}/token", data=b"{}", headers=headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, json.load(answer), answer.headers
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused), refused.headers

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


class Forgers(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.issuer = Issuer()
        cls.addClassCleanup(cls.issuer.stop)
        cls.gateway = Gateway([{"issuer": cls.issuer.name, "audiences": [AUDIENCE]}])
        cls.addClassCleanup(cls.gateway.stop)

    def claims(self, **changes):
        now = int(time.time())
        good = {
            "iss": self.issuer.name, "aud": AUDIENCE, "sub": "sub-ada", "iat": now, "exp": now + 600,
            "scope": "flexgate.token", "preferred_username": "ada", "name": "Ada Lovelace",
            "email": "ada@example.com", "email_verified": True,
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not ...}

    def sign(self, claims=None, alg="ES256", key=None, **header):
        """Signs the bytes of the claims. Uses PyJWT's low-level API, which does not validate the claims."""
        payload = claims if isinstance(claims, bytes) else json.dumps(claims or self.claims()).encode()
        headers = {"kid": alg, "typ": "at+jwt", **header}
        headers = {name: value for name, value in headers.items() if value is not ...}
        return jwt.api_jws.encode(payload, key or self.issuer.keys[alg], algorithm=alg, headers=headers)

    def refuse(self, token: str, what: str, status=401, code="token_invalid"):
        with self.subTest(what):
            answered, body, headers = self.gateway.mint(token)
            self.assertEqual((answered, body.get("code")), (status, code))
            self.assertNotIn("access_token", body)
            self.assertEqual(headers["www-authenticate"], "Bearer" if status == 401 else None)

    def test_a_good_token_of_every_algorithm_is_accepted(self):
        for alg in ["RS256", "ES256", "EdDSA"]:
            status, body, _ = self.gateway.mint(self.sign(alg=alg))
            self.assertEqual((status, body.get("token_info", {}).get("username")), (201, "ada"), body)
        token = jwt.encode(self.claims(), self.issuer.keys["RS256"], algorithm="RS256", headers={"kid": "RS256"})
        self.assertEqual(self.gateway.mint(token)[0], 201)

    def test_m02_no_signature(self):
        signed = self.sign()
        self.refuse(jwt.encode(self.claims(), None, algorithm="none"), "none")
        self.refuse(jwt.encode(self.claims(), None, algorithm="none", headers={"kid": "ES256"}), "none with a kid")
        self.refuse(signed.rsplit(".", 1)[0] + ".", "stripped")
        for alg in ["None", "NONE", "nOnE", "", "es256"]:
            self.refuse(".".join([b64({"alg": alg, "kid": "ES256"}), *signed.split(".")[1:]]), f"alg {alg}")

    def test_m03_the_public_key_as_a_secret(self):
        public = self.issuer.keys["RS256"].public_key()
        secrets = {
            "PEM": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            "PKCS#1": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
            "DER": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            "JWK": RSAAlgorithm.to_jwk(public).encode(),
        }
        for what, secret in secrets.items():
            for alg in ["HS256", "RS256"]:
                # PyJWT refuses to use a public key as an HMAC secret, so sign by hand.
                message = f"{b64({'alg': alg, 'kid': 'RS256', 'typ': 'at+jwt'})}.{b64(self.claims())}"
                tag = hmac.new(secret, message.encode(), hashlib.sha256).digest()
                self.refuse(f"{message}.{b64(tag)}", f"{alg} with the {what}")

    def test_m03_keys_for_other_algorithms_and_weak_ones(self):
        self.refuse(self.sign(alg="PS256", key=self.issuer.keys["RS256"], kid="RS256"), "PS256 with the RS256 key")
        self.refuse(self.sign(alg="RS384", key=self.issuer.keys["RS256"], kid="RS256"), "RS384 with the RS256 key")
        weak = self.issuer.keys["weak"]
        self.refuse(self.sign(alg="RS256", key=weak, kid="weak"), "1024 bits")

    def test_m04_m06_unknown_and_unnamed_keys(self):
        stranger = ec.generate_private_key(ec.SECP256R1())
        self.refuse(self.sign(key=stranger), "a stranger's key under a known name")
        self.refuse(self.sign(key=stranger, kid="unknown"), "an unknown name")
        self.refuse(self.sign(key=stranger, kid=...), "a stranger's key without a name")
        self.assertEqual(self.gateway.mint(self.sign(kid=...))[0], 201, "one key of this algorithm")

    def test_m07_embedded_keys(self):
        stranger = ec.generate_private_key(ec.SECP256R1())
        jwk = json.loads(ECAlgorithm.to_jwk(stranger.public_key()))
        asked = len(self.issuer.asked)
        for header in [{"jwk": jwk}, {"jku": f"{self.issuer.name}/evil"}, {"x5u": f"{self.issuer.name}/evil"}]:
            self.refuse(self.sign(key=stranger, **header), f"{header}")
            self.assertEqual(self.gateway.mint(self.sign(**header))[0], 201, f"{header}, signed by the issuer")
        self.assertEqual([path for path in self.issuer.asked[asked:] if path == "/evil"], [])

    def test_m08_m09_other_audiences_and_issuers(self):
        for aud in [..., None, "", "other", ["other"], [], "flexgate2", "Flexgate", 1, {"flexgate": 1}, ["flexgate", 1]]:
            self.refuse(self.sign(self.claims(aud=aud)), f"aud {aud}")
        for iss in [..., None, "", f"{self.issuer.name}/", self.issuer.name.upper(), "https://evil.example", [self.issuer.name]]:
            self.refuse(self.sign(self.claims(iss=iss)), f"iss {iss}")

    def test_m10_m11_times(self):
        now = int(time.time())
        for exp in [..., None, now - 60, str(now + 600), 1e300, -1, 0, True, [now + 600], float(now) - 60.5]:
            self.refuse(self.sign(self.claims(exp=exp)), f"exp {exp}")
        for name in ["nbf", "iat"]:
            for date in [now + 600, str(now), 1e300, True]:
                self.refuse(self.sign(self.claims(**{name: date})), f"{name} {date}")
        # JSON forbids these literals, but some JSON libraries, such as Python's, write and read them. The gateway must
        # refuse a token with such a literal.
        for literal in [b"NaN", b"Infinity", b"-Infinity"]:
            payload = json.dumps(self.claims(exp=0)).encode().replace(b'"exp": 0', b'"exp": ' + literal)
            self.refuse(self.sign(payload), f"exp {literal}")

    def test_m12_other_kinds(self):
        for typ in ["logout+jwt", "secevent+jwt", "dpop+jwt"]:
            self.refuse(self.sign(typ=typ), typ)
        self.refuse(self.sign(self.claims(nonce="n"), typ="JWT"), "an ID token")
        self.refuse(self.sign(self.claims(events={})), "an event")

    def test_m13_spellings(self):
        good = self.sign()
        text = json.dumps(self.claims())
        for member in ['"sub":"sub-grace"', '"x":{"a":1,"a":2}', '"s\\u0075b":"sub-grace"']:
            self.refuse(self.sign(f"{text[:-1]},{member}}}".encode()), f"{member} twice")
        self.refuse(self.sign(crit=["exp"]), "crit")
        self.refuse(self.sign(b"[]"), "an array")
        self.refuse(self.sign(b"\xef\xbb\xbf" + text.encode()), "a byte order mark")
        self.refuse(self.sign(text.encode() + b"\xff"), "no UTF-8")
        for token in [f"{good}.", f".{good}", f"{good}=", f"{good}.e30", good.replace(".", "..", 1)]:
            self.refuse(token, "a second spelling")
        self.refuse(self.sign(self.claims(pad="x" * 9216)), "9 KB", 413, "too_large")

    def test_m14_no_scope(self):
        for scope in [..., "", "openid", "flexgate.tokens"]:
            self.refuse(self.sign(self.claims(scope=scope)), f"scope {scope}", 403, "scope_missing")


if __name__ == "__main__":
    unittest.main()
