"""Tests infra/edge.yaml, the stack with CloudFront and AWS WAF in front of Flexgate."""

import fnmatch
import json
import posixpath
import re
import subprocess
import unittest
import urllib.parse

from resolve import Stack
from samtranslator.yaml_helper import yaml_parse
from test_template import ROOT, resolved

TEXT = (ROOT / "infra/edge.yaml").read_text()
PARAMETERS = {
    "ApiHost": "api.execute-api.eu-west-1.amazonaws.com",
    "DomainName": "app.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/1",
}


def edge(change=None):
    return Stack(yaml_parse(TEXT), PARAMETERS | (change or {}))


def distribution(change=None):
    return edge(change).exist("AWS::CloudFront::Distribution")["Distribution"]["DistributionConfig"]


def rules(change=None):
    return edge(change).exist("AWS::WAFv2::WebACL")["WebAcl"]["Rules"]


def rate_rules(change=None):
    return {rule["Name"]: rule["Statement"]["RateBasedStatement"] for rule in rules(change)}


def routes():
    return [route["RouteKey"].split() for route in resolved().exist("AWS::ApiGatewayV2::Route").values()]


class Edge(unittest.TestCase):
    def test_every_route_goes_to_flexgate_and_is_not_cached(self):
        config = distribution({"PageHost": "page.example.com"})
        for method, path in routes():
            path = re.sub(r"\{\w+\+?\}", "x", path)
            found = [one for one in config["CacheBehaviors"] if fnmatch.fnmatchcase(path, one["PathPattern"])]
            self.assertTrue(found, path)
            self.assertEqual(found[0]["TargetOriginId"], "flexgate", path)
            self.assertTrue(method == "ANY" or method in found[0]["AllowedMethods"], path)
        for one in config["CacheBehaviors"]:
            self.assertTrue(any(fnmatch.fnmatchcase(path, one["PathPattern"]) for _, path in routes()), one["PathPattern"])
            self.assertEqual(one["CachePolicyId"], "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "CachingDisabled")
            self.assertEqual(one["OriginRequestPolicyId"], "b689b0a8-53d0-40ab-baf2-68738e2966ac", "AllViewerExceptHostHeader")
            self.assertEqual(one["ViewerProtocolPolicy"], "https-only")

    def test_everything_else_goes_to_the_page_if_there_is_one(self):
        self.assertEqual(distribution()["DefaultCacheBehavior"]["TargetOriginId"], "flexgate")
        self.assertEqual([one["Id"] for one in distribution()["Origins"]], ["flexgate"])
        config = distribution({"PageHost": "page.example.com"})
        self.assertEqual(config["DefaultCacheBehavior"]["TargetOriginId"], "page")
        self.assertEqual([one["DomainName"] for one in config["Origins"]], [PARAMETERS["ApiHost"], "page.example.com"])

    def test_cloudfront_proves_itself_to_flexgate_and_to_nobody_else(self):
        source = (ROOT / "shared/src/web/cdn.rs").read_text()
        header = re.search(r'X_FLEXGATE_CDN: HeaderName = HeaderName::from_static\("([^"]+)"\)', source).group(1)
        origins = {one["Id"]: one for one in distribution({"PageHost": "page.example.com"})["Origins"]}
        sent = {"HeaderName": header, "HeaderValue": "{{resolve:secretsmanager:<CdnSecret>}}"}
        self.assertEqual(origins["flexgate"]["OriginCustomHeaders"], [sent])
        self.assertNotIn("OriginCustomHeaders", origins["page"])
        for one in origins.values():
            self.assertEqual(one["CustomOriginConfig"]["OriginProtocolPolicy"], "https-only")

    def test_a_new_generation_of_the_secret_changes_the_distribution_only(self):
        before, after = edge().resources, edge({"SecretGeneration": "2"})
        self.assertNotEqual(distribution()["Comment"], distribution({"SecretGeneration": "2"})["Comment"])
        for name, one in before.items():
            if name != "Distribution":
                kind = one["Type"]
                self.assertEqual(edge().exist(kind)[name], after.exist(kind)[name], name)

    def test_every_route_counts_in_one_of_the_rate_rules_however_its_path_is_spelled(self):
        self.assertEqual(distribution()["WebACLId"], "<WebAcl.Arn>")
        spellings = lambda path: [path, path.replace("/", "/x/../", 1), "/%2e/".join(path.split("/", 1))]  # noqa: E731
        transform = {"NONE": lambda path: path, "URL_DECODE": urllib.parse.unquote, "NORMALIZE_PATH": posixpath.normpath}
        rules = rate_rules({"RateLimit": "500", "DirectoryRateLimit": "7000"})
        self.assertEqual({name: rule["Limit"] for name, rule in rules.items()}, {"people": "500", "directory": "7000"})

        def counts(name, path):
            _, any_of = rules[name]["ScopeDownStatement"]["AndStatement"]["Statements"]
            for one in any_of["OrStatement"]["Statements"]:
                match, seen = one["RegexMatchStatement"], path
                for step in sorted(match["TextTransformations"], key=lambda step: step["Priority"]):
                    seen = transform[step["Type"]](seen)
                if re.search(match["RegexString"], seen):
                    return True
            return False

        for _, route in routes():
            directory = route.startswith(("/scim/", "/webhooks/"))
            for path in spellings(re.sub(r"\{\w+\+?\}", "x", route)):
                self.assertEqual(counts("directory", path), directory, path)
                self.assertEqual(counts("people", path), not directory, path)
        # `/scim/../token` begins like a path for identity systems but leads to a route for people. So it must count
        # towards the limit for people.
        self.assertTrue(counts("people", "/scim/../token") and counts("people", "/webhooks/%2e%2e/sso/default/login"))
        # Requests for a page's files count towards neither of the two rate limits.
        self.assertFalse(any(counts(name, "/assets/desk.js") or counts(name, "/") for name in rules))

    def test_a_rate_rule_limits_each_address_but_no_trusted_network(self):
        for name, rule in rate_rules().items():
            self.assertEqual((rule["AggregateKeyType"], rule["EvaluationWindowSec"]), ("IP", 300), name)
            trusted, _ = rule["ScopeDownStatement"]["AndStatement"]["Statements"]
            self.assertEqual(trusted["NotStatement"]["Statement"]["IPSetReferenceStatement"]["Arn"], "<TrustedAddresses.Arn>")
        # A rate rule counts the requests of each address, and a client can have billions of IPv6 addresses. So
        # CloudFront must not offer IPv6.
        self.assertFalse(distribution()["IPV6Enabled"])

    def test_no_error_is_cached(self):
        # By default, CloudFront caches the errors in `by_default` for ten seconds, whatever their headers say. So the
        # template must set the caching time of each of these errors to 0.
        by_default = {400, 403, 404, 405, 414, 500, 501, 502, 503, 504}
        responses = distribution()["CustomErrorResponses"]
        self.assertEqual({one["ErrorCode"] for one in responses}, by_default)
        self.assertEqual({one["ErrorCachingMinTTL"] for one in responses}, {0})

    def test_cloudfront_names_the_client_and_answers_only_at_the_domain(self):
        code = edge().exist("AWS::CloudFront::Function")["Client"]["FunctionCode"]
        source = (ROOT / "shared/src/web/cdn.rs").read_text()
        header = re.search(r'X_FLEXGATE_CLIENT: HeaderName = HeaderName::from_static\("([^"]+)"\)', source).group(1)
        event = {"viewer": {"ip": "198.51.100.7"}, "request": {"headers": {header: {"value": "1.2.3.4"}}}}

        def run(host):
            event["request"]["headers"]["host"] = {"value": host}
            script = f"{code}\nconsole.log(JSON.stringify(handler({json.dumps(event)})))"
            done = subprocess.run(["node", "--eval", script], capture_output=True, text=True, check=True)
            return json.loads(done.stdout)

        self.assertEqual(run("app.example.com")["headers"][header], {"value": "198.51.100.7"})
        self.assertEqual(run("d111111abcdef8.cloudfront.net")["statusCode"], 404)
        config = distribution({"PageHost": "page.example.com"})
        for one in config["CacheBehaviors"]:
            association = {"EventType": "viewer-request", "FunctionARN": "<Client.FunctionARN>"}
            self.assertEqual(one["FunctionAssociations"], [association], one["PathPattern"])

    def test_trusted_networks_may_be_empty(self):
        self.assertEqual(edge().template["Parameters"]["TrustedNetworks"]["Default"], "")
        addresses = lambda change: edge(change).exist("AWS::WAFv2::IPSet")["TrustedAddresses"]["Addresses"]  # noqa: E731
        self.assertEqual(addresses(None), [])
        self.assertEqual(addresses({"TrustedNetworks": ["203.0.113.0/24"]}), ["203.0.113.0/24"])

    def test_the_firewalls_429_is_the_problem_document_of_flexgates(self):
        bodies = edge().exist("AWS::WAFv2::WebACL")["WebAcl"]["CustomResponseBodies"]
        title = re.search(r'"too_many_requests" "([^"]+)"', (ROOT / "shared/src/web/problem.rs").read_text()).group(1)
        for rule in rules():
            response = rule["Action"]["Block"]["CustomResponse"]
            self.assertEqual(response["ResponseCode"], 429)
            body = json.loads(bodies[response["CustomResponseBodyKey"]]["Content"])
            self.assertEqual((body["code"], body["status"], body["title"]), ("too_many_requests", 429, title))
            self.assertEqual(body["type"], "urn:flexgate:problem:too_many_requests")
            headers = {one["Name"] for one in response["ResponseHeaders"]}
            self.assertEqual(headers, {"retry-after", "cache-control"})

    def test_nothing_logs_the_query_of_a_callback(self):
        self.assertNotIn("Logging", distribution())
        web_acl = edge().exist("AWS::WAFv2::WebACL")["WebAcl"]
        for one in [web_acl, *web_acl["Rules"]]:
            self.assertFalse(one["VisibilityConfig"]["SampledRequestsEnabled"])

    def test_the_stacks_fit_together(self):
        outputs = edge().outputs()
        self.assertEqual(outputs["PublicUrl"], "https://app.example.com")
        gateway = resolved({"PublicUrl": outputs["PublicUrl"], "CdnSecretSha256": "0" * 64})
        self.assertRegex(gateway.outputs()["ApiHost"].replace("<", "").replace(">", "").lower(), r"^[a-z0-9:.-]+$")
        for function in gateway.exist("AWS::Lambda::Function").values():
            self.assertEqual(function["Environment"]["Variables"]["FLEXGATE_CDN_SECRET_SHA256"], "0" * 64)


if __name__ == "__main__":
    unittest.main()
