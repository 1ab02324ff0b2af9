"""Tests infra/edge.yaml, the stack with CloudFront and AWS WAF in front of Flexgate."""

import fnmatch
import ipaddress
import json
import re
import unittest

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


def rate_rule(change=None):
    (rule,) = edge(change).exist("AWS::WAFv2::WebACL")["WebAcl"]["Rules"]
    return rule


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
        (header,) = re.findall(r'HeaderName = HeaderName::from_static\("([^"]+)"\)', source)
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

    def test_the_web_acl_limits_each_address_but_no_trusted_network_and_no_identity_provider(self):
        self.assertEqual(distribution()["WebACLId"], "<WebAcl.Arn>")
        rule = rate_rule({"RateLimit": "500"})
        self.assertEqual(rule["Action"]["Block"]["CustomResponse"]["ResponseCode"], 429)
        rate = rule["Statement"]["RateBasedStatement"]
        self.assertEqual((rate["AggregateKeyType"], rate["Limit"], rate["EvaluationWindowSec"]), ("IP", "500", 300))
        exempt = rate["ScopeDownStatement"]["NotStatement"]["Statement"]["OrStatement"]["Statements"]
        sets = {one["IPSetReferenceStatement"]["Arn"] for one in exempt if "IPSetReferenceStatement" in one}
        self.assertEqual(sets, {"<TrustedAddresses.Arn>", "<TrustedAddressesIpv6.Arn>"})
        paths = {one["ByteMatchStatement"]["SearchString"] for one in exempt if "ByteMatchStatement" in one}
        self.assertEqual(paths, {"/scim/", "/webhooks/"})

    def test_trusted_networks_may_be_empty(self):
        for name in ("TrustedNetworks", "TrustedNetworksIpv6"):
            self.assertEqual(edge().template["Parameters"][name]["Default"], "")
        addresses = lambda stack: [one["Addresses"] for one in stack.exist("AWS::WAFv2::IPSet").values()]  # noqa: E731
        self.assertEqual(addresses(edge()), [[], []])
        ours = {"TrustedNetworks": ["203.0.113.0/24"], "TrustedNetworksIpv6": ["2001:db8::/48"]}
        self.assertEqual(addresses(edge(ours)), list(ours.values()))
        for (network,) in ours.values():
            ipaddress.ip_network(network)

    def test_the_firewalls_429_is_the_problem_document_of_flexgates(self):
        bodies = edge().exist("AWS::WAFv2::WebACL")["WebAcl"]["CustomResponseBodies"]
        response = rate_rule()["Action"]["Block"]["CustomResponse"]
        body = json.loads(bodies[response["CustomResponseBodyKey"]]["Content"])
        title = re.search(r'"too_many_requests" "([^"]+)"', (ROOT / "shared/src/web/problem.rs").read_text()).group(1)
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
        gateway = resolved({"PublicUrl": outputs["PublicUrl"], "TrustedProxies": "1", "CdnSecretSha256": "0" * 64})
        self.assertRegex(gateway.outputs()["ApiHost"].replace("<", "").replace(">", "").lower(), r"^[a-z0-9:.-]+$")
        for function in gateway.exist("AWS::Lambda::Function").values():
            variables = function["Environment"]["Variables"]
            self.assertEqual((variables["FLEXGATE_CDN_SECRET_SHA256"], variables["FLEXGATE_TRUSTED_PROXIES"]), ("0" * 64, "1"))


if __name__ == "__main__":
    unittest.main()
