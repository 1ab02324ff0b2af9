"""Tests infra/template.yaml after SAM's transform: which role may do what, and which resources must be retained."""

import json
import pathlib
import re
import tomllib
import unittest

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
PARAMETERS = {
    "TwilioAccountSid": "AC00000000000000000000000000000001",
    "TwilioInstanceSid": "GO00000000000000000000000000000001",
    "SsoProfiles": "default=JQ00000000000000000000000000000001",
    "Issuers": "[]",
    "Canary": "true",
    "Architecture": "arm64",
    "WebhookSources": '{"okta": {}}',
}
HTTP = ["Sso", "Mint", "Provision", "Webhooks"]
ALL = [*HTTP, "Apply", "Sweep"]


class NoManagedPolicies:
    def load(self):
        return {}


def transformed():
    text = (ROOT / "infra/template.yaml").read_text().replace("CodeUri: ../", "CodeUri: s3://bucket/code.zip")
    return transform(yaml_parse(text), dict(PARAMETERS), NoManagedPolicies())


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        import os

        os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
        template = transformed()
        cls.resources, cls.outputs = template["Resources"], template["Outputs"]

    def of_type(self, kind):
        return {name: one for name, one in self.resources.items() if one["Type"] == kind}

    def statements(self, function):
        policies = self.resources[f"{function}Role"]["Properties"]["Policies"]
        self.assertEqual(len(policies), 1)
        return {one["Sid"]: one for one in policies[0]["PolicyDocument"]["Statement"]}

    def actions(self, function, sid):
        statement = self.statements(function).get(sid)
        actions = statement["Action"] if statement else []
        return {actions} if isinstance(actions, str) else set(actions)

    def secrets(self, function):
        statement = self.statements(function).get("Secrets")
        # `Fn::If` contains a condition and two references. The first reference applies if the condition is true.
        names = [one.get("Fn::If", [None, one])[1]["Ref"] for one in statement["Resource"]] if statement else []
        return set(names)

    def test_no_resource_is_a_star_except_for_traces(self):
        for name, role in self.of_type("AWS::IAM::Role").items():
            for policy in role["Properties"].get("Policies", []):
                for one in policy["PolicyDocument"]["Statement"]:
                    self.assertEqual(one["Effect"], "Allow")
                    if one["Resource"] == "*":
                        self.assertEqual({a.split(":")[0] for a in one["Action"]}, {"xray"}, name)
                    self.assertNotIn("*", json.dumps(one["Action"]), name)

    def test_every_function_has_a_role_of_its_own_that_only_lambda_assumes(self):
        roles = [self.resources[f"{name}Function"]["Properties"]["Role"]["Fn::GetAtt"][0] for name in ALL]
        self.assertEqual(roles, [f"{name}Role" for name in ALL])
        for name in roles:
            role = self.resources[name]["Properties"]
            self.assertNotIn("ManagedPolicyArns", role)
            principals = [one["Principal"] for one in role["AssumeRolePolicyDocument"]["Statement"]]
            self.assertEqual(principals, [{"Service": "lambda.amazonaws.com"}])
        made = {n for n in self.of_type("AWS::IAM::Role") if n not in roles}
        self.assertEqual(made, {"CodeDeployServiceRole"}, "SAM made no role for a function")

    def test_sso_cannot_read_the_twilio_secret(self):
        self.assertEqual(self.secrets("Sso"), {"CookieKeys"})
        self.assertNotIn("TwilioSecret", json.dumps(self.resources["SsoRole"]))
        self.assertNotIn("TwilioSecret", json.dumps(self.resources["SsoFunction"]))

    def test_webhooks_can_only_send_to_the_queue_and_read_its_secrets(self):
        self.assertEqual(set(self.statements("Webhooks")), {"Logs", "Trace", "Secrets", "Queue"})
        self.assertEqual(self.secrets("Webhooks"), {"WebhookSecrets"})
        self.assertEqual(self.actions("Webhooks", "Queue"), {"sqs:SendMessage"})

    def test_each_function_reads_exactly_the_secrets_its_variables_name(self):
        for name in ALL:
            variables = self.resources[f"{name}Function"]["Properties"]["Environment"]["Variables"]
            named = {value["Ref"] for key, value in variables.items() if key.endswith("_SECRET_ID")}
            self.assertEqual(self.secrets(name), named, name)
            self.assertIn(self.actions(name, "Secrets"), [set(), {"secretsmanager:GetSecretValue"}])

    def test_each_function_may_do_to_the_table_what_its_code_does(self):
        dynamodb = lambda *actions: {f"dynamodb:{one}" for one in actions}  # noqa: E731
        expected = {
            # Sign-in uses single sessions, and adds each session to its user's list. It never needs all sessions of a
            # user, so its role allows no queries.
            "Sso": dynamodb("GetItem", "PutItem", "UpdateItem", "DeleteItem"),
            # Mint uses bindings, counters and the people ledger. The ledger ends sessions and removes bindings.
            "Mint": dynamodb("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"),
            # Provision uses bindings, sessions and the SCIM directory.
            "Provision": dynamodb("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"),
            "Apply": dynamodb("GetItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"),
            # Sweep reads people and the SCIM directory, and writes the index of usernames.
            "Sweep": dynamodb("BatchGetItem", "PutItem", "Query"),
            "Webhooks": set(),
        }
        for name, actions in expected.items():
            self.assertEqual(self.actions(name, "Table"), actions, name)
            if actions:
                self.assertEqual(self.statements(name)["Table"]["Resource"], {"Fn::GetAtt": ["Table", "Arn"]})

    def test_every_route_leads_to_a_function_that_the_api_may_call(self):
        for name, route in self.of_type("AWS::ApiGatewayV2::Route").items():
            target = re.search(r"\$\{(\w+)Integration\}", json.dumps(route["Properties"]["Target"])).group(1)
            self.assertIn(f"{target}Integration", self.resources, name)
            self.assertIn(f"{target}Permission", self.resources, name)
        for name in HTTP:
            alias = {"Ref": f"{name}FunctionAliaslive"}
            self.assertEqual(self.resources[f"{name}Integration"]["Properties"]["IntegrationUri"], alias)
            self.assertEqual(self.resources[f"{name}Permission"]["Properties"]["FunctionName"], alias)

    def test_cargo_lambda_watch_serves_the_same_paths_with_the_same_functions(self):
        metadata = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["metadata"]
        deployed = {}
        for route in self.of_type("AWS::ApiGatewayV2::Route").values():
            path = re.sub(r"\{(\w+)\+\}", r"{*\1}", route["Properties"]["RouteKey"].split()[1])
            function = re.search(r"\$\{(\w+)Integration\}", json.dumps(route["Properties"]["Target"])).group(1)
            deployed[path] = f"flexgate-{function.lower()}"
        self.assertEqual(metadata["lambda"]["watch"]["router"], deployed)

    def test_a_route_that_is_throttled_exists(self):
        keys = {route["Properties"]["RouteKey"] for route in self.of_type("AWS::ApiGatewayV2::Route").values()}
        for key in self.resources["Stage"]["Properties"]["RouteSettings"]:
            self.assertIn(key, keys)
        self.assertIn("POST /token", self.resources["Stage"]["Properties"]["RouteSettings"])

    def test_what_cannot_be_made_again_is_retained(self):
        for kind in ("AWS::DynamoDB::Table", "AWS::SecretsManager::Secret", "AWS::SQS::Queue", "AWS::Logs::LogGroup"):
            for name, one in self.of_type(kind).items():
                self.assertEqual((one["DeletionPolicy"], one["UpdateReplacePolicy"]), ("Retain", "Retain"), name)

    def test_the_table_keeps_no_more_than_it_should_and_can_be_restored(self):
        table = self.resources["Table"]["Properties"]
        self.assertEqual(table["TimeToLiveSpecification"], {"AttributeName": "expires_at", "Enabled": True})
        self.assertTrue(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"])
        self.assertEqual(table["BillingMode"], "PAY_PER_REQUEST")

    def test_functions_run_on_a_runtime_that_exists_and_answer_before_the_gateway_gives_up(self):
        for name in ALL:
            function = self.resources[f"{name}Function"]["Properties"]
            self.assertEqual(function["Runtime"], "provided.al2023")
            self.assertEqual(function["TracingConfig"], {"Mode": "Active"})
        for name in HTTP:
            timeout = self.resources[f"{name}Function"]["Properties"]["Timeout"]
            patience = self.resources[f"{name}Integration"]["Properties"]["TimeoutInMillis"]
            self.assertLess(timeout * 1000, patience)

    def test_a_new_version_is_rolled_back_by_alarms(self):
        groups = self.of_type("AWS::CodeDeploy::DeploymentGroup")
        self.assertEqual(len(groups), len(ALL))
        for name, group in groups.items():
            alarms = group["Properties"]["AlarmConfiguration"]["Alarms"]
            of_its_own = name.replace("FunctionDeploymentGroup", "ErrorAlarm")
            self.assertEqual({one["Name"]["Ref"] for one in alarms}, {"FaultAlarm", of_its_own}, name)

    def test_the_queue_outwaits_its_consumer_and_has_a_dead_letter_queue(self):
        timeout = self.resources["ApplyFunction"]["Properties"]["Timeout"]
        mappings = self.of_type("AWS::Lambda::EventSourceMapping").values()
        for name in ("Events", "Bulk"):
            queue = self.resources[name]["Properties"]
            self.assertGreaterEqual(queue["VisibilityTimeout"], 6 * timeout)
            self.assertEqual(queue["RedrivePolicy"]["deadLetterTargetArn"], {"Fn::GetAtt": [f"Dead{name}", "Arn"]})
            self.assertGreater(queue["RedrivePolicy"]["maxReceiveCount"], 50, "FLEXGATE_APPLY_TRIES")
            source = {"Fn::GetAtt": [name, "Arn"]}
            (one,) = [one["Properties"] for one in mappings if one["Properties"]["EventSourceArn"] == source]
            self.assertEqual(one["FunctionResponseTypes"], ["ReportBatchItemFailures"])
            # Only the queue of jobs has a concurrency limit.
            self.assertEqual("ScalingConfig" in one, name == "Bulk")
        self.assertEqual(len(mappings), 2)

    def test_without_webhooks_there_are_queues_and_their_consumer_still(self):
        conditional = {name for name, one in self.resources.items() if one.get("Condition") == "Webhooks"}
        self.assertFalse(conditional & {"Events", "DeadEvents", "Bulk", "DeadBulk", "ApplyFunction", "ApplyRole"})

    def test_jobs_are_sent_to_the_queue_of_bulk_work_alone(self):
        for name, sid in (("Provision", "Queue"), ("Apply", "Jobs"), ("Sweep", "Jobs")):
            self.assertEqual(self.actions(name, sid), {"sqs:SendMessage"})
            self.assertEqual(self.statements(name)[sid]["Resource"], {"Fn::GetAtt": ["Bulk", "Arn"]})

    def test_whoever_reconciles_knows_which_group_gives_which_role(self):
        for name in ("Mint", "Provision", "Apply", "Sweep"):
            variables = self.resources[f"{name}Function"]["Properties"]["Environment"]["Variables"]
            self.assertEqual(variables["FLEXGATE_SCIM_GROUP_ROLES"], {"Ref": "ScimGroupRoles"}, name)

    def test_every_alarm_says_where_its_runbook_is(self):
        alarms = self.of_type("AWS::CloudWatch::Alarm")
        self.assertEqual(len(alarms), 3 * len(ALL) + 9)
        for name, alarm in alarms.items():
            self.assertIn("docs/deploy.md#alarms", alarm["Properties"]["AlarmDescription"], name)

    def test_an_alarm_on_our_own_metrics_names_one_that_the_code_writes(self):
        source = (ROOT / "shared/src/telemetry/metrics.rs").read_text()
        undimensioned = set(re.findall(r'dimensions: &\[\], metrics: &\[\("(\w+)"', source))
        own = {}
        for name, alarm in self.of_type("AWS::CloudWatch::Alarm").items():
            properties = alarm["Properties"]
            if "Flexgate" in json.dumps(properties["Namespace"]):
                self.assertNotIn("Dimensions", properties, name)
                own[name] = properties["MetricName"]
        self.assertEqual(set(own.values()), {"upstream_failures", "credential_failures", "dead_letters", "inactive_but_active"})
        self.assertLessEqual(set(own.values()), undimensioned)
        namespace = self.resources["SsoFunction"]["Properties"]["Environment"]["Variables"]["FLEXGATE_METRICS"]
        self.assertEqual(namespace, {"Fn::Sub": "emf:Flexgate/${AWS::StackName}"})

    def test_the_outputs_name_the_address_that_the_functions_use(self):
        def alternatives(value):
            """The texts that a value can have, as pairs (condition, text) in the order of the conditions."""
            if "Fn::If" in value:
                condition, one, other = value["Fn::If"]
                return [(condition, text) for _, text in alternatives(one)] + alternatives(other)
            return [("", value["Fn::Sub"] if "Fn::Sub" in value else "${" + value["Ref"] + "}")]

        functions = self.of_type("AWS::Lambda::Function")
        public = functions["SsoFunction"]["Properties"]["Environment"]["Variables"]["FLEXGATE_PUBLIC_URL"]
        expected = alternatives(public)
        self.assertEqual([condition for condition, _ in expected], ["HasPublicUrl", "HasDomain", ""])
        for output, path in [("Url", ""), ("CallbackUrl", "/sso/default/callback"), ("ScimUrl", "/scim/v2")]:
            with self.subTest(output):
                found = alternatives(self.outputs[output]["Value"])
                self.assertEqual(found, [(condition, text + path) for condition, text in expected])

    def test_access_logs_hold_the_route_and_never_the_path(self):
        form = self.resources["Stage"]["Properties"]["AccessLogSettings"]["Format"]
        self.assertIn("$context.routeKey", form)
        self.assertNotIn("$context.path", form)
        self.assertNotIn("sourceIp", form)


if __name__ == "__main__":
    unittest.main()
