"""Tests infra/template.yaml after SAM's transform: which role may do what, and which resources must be retained."""

import json
import logging
import os
import pathlib
import re
import tomllib
import unittest

from policies import statements
from resolve import Stack
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
logging.getLogger("samtranslator").setLevel(logging.ERROR)
ROOT = pathlib.Path(__file__).resolve().parents[2]
PARAMETERS = {
    "TwilioAccountSid": "AC00000000000000000000000000000001",
    "TwilioInstanceSid": "GO00000000000000000000000000000001",
    "SsoProfiles": "default=JQ00000000000000000000000000000001",
    "DefaultReturnTo": "/desk",
    "Issuers": "[]",
    "Canary": "true",
    "Architecture": "arm64",
    "WebhookSources": '{"okta": {}}',
}
HTTP = ["Sso", "Mint", "Provision", "Webhooks"]
ALL = [*HTTP, "Apply", "Sweep"]
# The types of resources that remain when the stack is deleted, each with the property that would set a fixed name.
RETAINED = {
    "AWS::DynamoDB::Table": "TableName", "AWS::SecretsManager::Secret": "Name", "AWS::SQS::Queue": "QueueName",
    "AWS::Logs::LogGroup": "LogGroupName",
}


class NoManagedPolicies:
    def load(self):
        return {}


def transformed(change=None):
    text = (ROOT / "infra/template.yaml").read_text().replace("CodeUri: ../", "CodeUri: s3://bucket/code.zip")
    return transform(yaml_parse(text), PARAMETERS | (change or {}), NoManagedPolicies())


def resolved(change=None):
    """Returns the template evaluated with these parameters."""
    return Stack(transformed(change), PARAMETERS | (change or {}))


class Template(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        template = transformed()
        cls.resources, cls.outputs, cls.parameters = (template[one] for one in ("Resources", "Outputs", "Parameters"))

    def of_type(self, kind):
        return {name: one for name, one in self.resources.items() if one["Type"] == kind}

    def statements(self, function):
        policies = self.resources[f"{function}ExecutionRole"]["Properties"]["Policies"]
        self.assertEqual(len(policies), 1)
        # A conditional statement is written as `Fn::If` with three elements: the condition, the statement, and
        # `AWS::NoValue`.
        found = [one.get("Fn::If", [None, one])[1] for one in policies[0]["PolicyDocument"]["Statement"]]
        return {one["Sid"]: one for one in found}

    def actions(self, function, sid):
        statement = self.statements(function).get(sid)
        actions = statement["Action"] if statement else []
        return {actions} if isinstance(actions, str) else set(actions)

    def secrets(self, function):
        statement = self.statements(function).get("Secrets")
        # A conditional secret is written as `Fn::If` with three elements: the condition, and the references for true
        # and for false. Take the first reference.
        names = [one.get("Fn::If", [None, one])[1]["Ref"] for one in statement["Resource"]] if statement else []
        return set(names)

    def test_no_resource_is_a_star_except_for_traces(self):
        for name, role in self.of_type("AWS::IAM::Role").items():
            for policy in role["Properties"].get("Policies", []):
                for one in policy["PolicyDocument"]["Statement"]:
                    one = one.get("Fn::If", [None, one])[1]
                    self.assertEqual(one["Effect"], "Allow")
                    if one["Resource"] == "*":
                        self.assertEqual({a.split(":")[0] for a in one["Action"]}, {"xray"}, name)
                    self.assertNotIn("*", json.dumps(one["Action"]), name)

    def test_every_function_has_a_role_of_its_own_that_only_lambda_assumes(self):
        roles = [self.resources[f"{name}Function"]["Properties"]["Role"]["Fn::GetAtt"][0] for name in ALL]
        self.assertEqual(roles, [f"{name}ExecutionRole" for name in ALL])
        for name in roles:
            role = self.resources[name]["Properties"]
            self.assertNotIn("ManagedPolicyArns", role)
            principals = [one["Principal"] for one in role["AssumeRolePolicyDocument"]["Statement"]]
            self.assertEqual(principals, [{"Service": "lambda.amazonaws.com"}])
        others = {name for name in self.of_type("AWS::IAM::Role") if name not in roles}
        self.assertEqual(others, {"CodeDeployRole"}, "SAM made no role")

    def test_r76_every_role_has_the_permissions_boundary(self):
        arn = "arn:aws:iam::123456789012:policy/boundary"
        for name, role in resolved({"PermissionsBoundaryArn": arn}).exist("AWS::IAM::Role").items():
            self.assertEqual(role["PermissionsBoundary"], arn, name)
        for name, role in resolved().exist("AWS::IAM::Role").items():
            self.assertNotIn("PermissionsBoundary", role, name)

    def test_without_a_canary_nobody_may_change_the_traffic_of_a_version(self):
        self.assertIn("CodeDeployRole", resolved().exist("AWS::IAM::Role"))
        without = resolved({"Canary": "false"})
        self.assertNotIn("CodeDeployRole", without.exist("AWS::IAM::Role"))
        self.assertEqual(without.exist("AWS::CodeDeploy::DeploymentGroup"), {})

    def test_sso_cannot_read_the_twilio_secret(self):
        self.assertEqual(self.secrets("Sso"), {"CookieKeys"})
        self.assertNotIn("TwilioSecret", json.dumps(self.resources["SsoExecutionRole"]))
        self.assertNotIn("TwilioSecret", json.dumps(self.resources["SsoFunction"]))

    def test_webhooks_can_only_send_to_the_queue_find_people_and_read_its_secrets(self):
        table = {"TablePeople", "TableUsernames", "TableTokens"}
        self.assertEqual(set(self.statements("Webhooks")), {"Logs", "Trace", "Secrets", "Queue"} | table)
        self.assertEqual(self.secrets("Webhooks"), {"WebhookSecrets"})
        self.assertEqual(self.actions("Webhooks", "Queue"), {"sqs:SendMessage"})

    def test_each_function_reads_exactly_the_secrets_its_variables_name(self):
        for name in ALL:
            variables = self.resources[f"{name}Function"]["Properties"]["Environment"]["Variables"]
            named = {value["Ref"] for key, value in variables.items() if key.endswith("_SECRET_ID")}
            self.assertEqual(self.secrets(name), named, name)
            self.assertIn(self.actions(name, "Secrets"), [set(), {"secretsmanager:GetSecretValue"}])

    def table(self, function, change=None):
        """Returns the actions that a function may do to the table, by the kind of item."""
        found = {}
        for one in statements(resolved(change).exist("AWS::IAM::Role")[f"{function}ExecutionRole"]):
            if one.resources == {"Table"}:
                for key in one.keys:
                    actions = {action.removeprefix("dynamodb:") for action in one.actions}
                    found.setdefault(key.removesuffix("#*"), set()).update(actions)
        return found

    def test_every_statement_about_the_table_names_the_kinds_of_item(self):
        # A role's condition on partition keys is also true for a request without keys. So roles may allow only actions
        # that always have a partition key.
        keyed = {f"dynamodb:{one}" for one in ("GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "DeleteItem")}
        for name in ALL:
            for one in statements(resolved({"OrphanDays": "30"}).exist("AWS::IAM::Role")[f"{name}ExecutionRole"]):
                if any(action.startswith("dynamodb:") for action in one.actions):
                    self.assertEqual(one.resources, {"Table"}, name)
                    self.assertLessEqual(one.actions, keyed, name)
                    for key in one.keys:
                        self.assertRegex(key, r"^[a-z_]+(#\*)?$", name)

    def test_no_policy_is_longer_than_iam_allows(self):
        # IAM limits the total length of a role's inline policies, without white space. Replace each reference with 140
        # characters, because the longest ARN (a secret's) is about as long.
        for name, role in resolved({"OrphanDays": "30"}).exist("AWS::IAM::Role").items():
            text = json.dumps([one["PolicyDocument"] for one in role.get("Policies", [])], separators=(",", ":"))
            self.assertLess(len(re.sub(r"<[\w.]+>", "x" * 140, text)), 10_240, name)

    def test_sign_in_writes_sessions_and_logins_and_nothing_else(self):
        read = {"GetItem"}
        self.assertEqual(self.table("Sso"), {
            "session": {"GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"},
            "session_list": {"PutItem", "Query"}, "newest_seat": {"GetItem", "PutItem"}, "sign_in_state": read,
            "sessions_ended": {"BatchGetItem"},
            "claim": {"GetItem", "PutItem"}, "login": {"GetItem", "PutItem"},
            # Version 0.2.0 stored an item for each session of a user under the partition key of the user's binding.
            # Flexgate must still find these items.
            "user": {"Query"},
            "person": read, "username": read, "flex_user": read,
        })

    def test_each_function_writes_the_statements_of_its_own_sources(self):
        kinds = {"scim", "claims", "webhook", "api", "operator"}
        written = lambda name, change=None: {kind for kind, actions in self.table(name, change).items()  # noqa: E731
                                             if kind in kinds and actions & {"PutItem", "UpdateItem", "DeleteItem"}}
        # Every function that reconciles people (changes their Flex users to match what the sources say) first updates
        # what SCIM groups say about them. It may also withdraw the claims of a failed mint.
        self.assertEqual(written("Mint"), {"scim", "claims"})
        self.assertEqual(written("Provision"), {"scim", "claims", "api"})
        self.assertEqual(written("Apply"), {"scim", "claims", "webhook"})
        self.assertEqual(written("Sweep"), set())
        self.assertEqual(written("Sweep", {"OrphanDays": "30"}), {"operator"})

    def test_only_those_who_need_it_write_other_kinds_of_item(self):
        writers = {}
        for name in ALL:
            for kind, actions in self.table(name).items():
                if actions & {"PutItem", "UpdateItem", "DeleteItem"}:
                    writers.setdefault(kind, set()).add(name)
        reconcilers = {"Mint", "Provision", "Apply"}
        for kind in ("identity", "user", "person", "people", "username", "flex_user", "subject_of", "scim_user", "scim_group"):
            self.assertEqual(writers[kind], reconcilers, kind)
        for kind, only in {"counter": {"Mint", "Apply"}, "claim": {"Sso", "Webhooks"}, "login": {"Sso"}, "dead_letters": {"Apply"},
                           "notes": {"Provision", "Apply"}, "walk": {"Sweep"}, "scim_marks": {"Provision"},
                           "scim_list": {"Provision"}, "scim_member": {"Provision"}}.items():
            self.assertEqual(writers[kind], only, kind)
        # The function `webhooks` looks up the people named in a request to end sessions, and records that the request's
        # token has been used. Only the function `apply` ends the sessions.
        people = ("person", "username", "flex_user", "subject_of", "identity", "walk")
        self.assertEqual(self.table("Webhooks"), {kind: {"GetItem"} for kind in people} | {
            "seen": {"Query"}, "claim": {"GetItem", "PutItem"},
        })
        self.assertEqual(writers["sessions_ended"], {"Apply", "Provision"})
        self.assertEqual({kind for kind, names in writers.items() if "Sweep" in names}, {"seen", "walk"})
        # The functions that reconcile people may delete sessions, and `provision` may also read them. No function may
        # write the state with which an operator blocks all sign-ins.
        for name in reconcilers:
            listed = {"BatchGetItem"} if name == "Provision" else set()
            self.assertEqual(self.table(name)["session"], {"DeleteItem"} | listed)
        self.assertEqual(writers["session_list"], {"Sso"})
        self.assertNotIn("sign_in_state", writers)

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

    def test_r75_a_shift_change_is_not_throttled(self):
        # Assume that 10,000 people sign in within ten minutes, and half of them within two minutes. The highest rate is
        # twice the average rate in these two minutes.
        peak = 2 * 5_000 / 120
        # At the same time, 10,000 people are at work. Each of their pages asks for its token every 4 minutes.
        settings = resolved().exist("AWS::ApiGatewayV2::Stage")["Stage"]["RouteSettings"]
        shift = ["GET /sso/{profile}/login", "GET /sso/{profile}/callback", "POST /sso/token", "POST /sso/validate", "POST /token"]
        self.assertEqual(sorted(settings), sorted(shift))
        for key in shift:
            self.assertGreaterEqual(int(settings[key]["ThrottlingRateLimit"]), peak + 10_000 / 240, key)
            self.assertGreaterEqual(int(settings[key]["ThrottlingBurstLimit"]), 2 * peak, key)

    def test_the_limits_of_routes_are_parameters(self):
        stage = resolved({"SignInRate": "2000", "SignInBurst": "4000", "DefaultRate": "10", "DefaultBurst": "20"})
        stage = stage.exist("AWS::ApiGatewayV2::Stage")["Stage"]
        for settings, limits in [*((one, ("2000", "4000")) for one in stage["RouteSettings"].values()), (stage["DefaultRouteSettings"], ("10", "20"))]:
            self.assertEqual((settings["ThrottlingRateLimit"], settings["ThrottlingBurstLimit"]), limits)

    def test_a_function_gets_reserved_concurrency_only_if_a_parameter_says_so(self):
        for name in HTTP:
            key = f"{name}Function"
            self.assertNotIn("ReservedConcurrentExecutions", resolved().exist("AWS::Lambda::Function")[key])
            reserved = resolved({f"{name}Concurrency": "50"}).exist("AWS::Lambda::Function")
            self.assertEqual(reserved[key]["ReservedConcurrentExecutions"], "50")
            others = [one for other, one in reserved.items() if other != key]
            self.assertFalse(any("ReservedConcurrentExecutions" in one for one in others), name)

    def test_a_parameter_has_the_default_of_its_variable(self):
        """The template always passes these settings, so their defaults must be those in docs/configuration.md."""
        documented = (ROOT / "docs/configuration.md").read_text()
        variables = {}
        for name in ALL:
            variables |= self.resources[f"{name}Function"]["Properties"]["Environment"]["Variables"]
        for variable, value in variables.items():
            parameter = self.parameters.get(value["Ref"]) if isinstance(value, dict) and "Ref" in value else None
            default = str(parameter.get("Default", "")) if parameter else ""
            if default in ("", "{}"):
                continue
            (row,) = re.findall(rf"^\| `{variable}` \|.*\| ([^|]*) \|$", documented, re.M)
            self.assertEqual(row.split(" (")[0].split(":")[0].strip("`"), default, variable)

    def test_r76_what_cannot_be_made_again_is_retained_unless_its_first_deployment_fails(self):
        for kind in RETAINED:
            for name, one in self.of_type(kind).items():
                self.assertEqual((one["DeletionPolicy"], one["UpdateReplacePolicy"]), ("RetainExceptOnCreate", "Retain"), name)

    def test_r76_what_is_retained_has_no_name_that_a_later_stack_needs(self):
        for kind, key in RETAINED.items():
            for name, one in self.of_type(kind).items():
                self.assertNotIn(key, one["Properties"], name)

    def test_r76_nothing_protects_a_table_that_a_failed_first_deployment_must_delete(self):
        (table,) = resolved().exist("AWS::DynamoDB::Table").values()
        self.assertEqual(table["DeletionProtectionEnabled"], "false")
        (table,) = resolved({"DeletionProtection": "true"}).exist("AWS::DynamoDB::Table").values()
        self.assertEqual(table["DeletionProtectionEnabled"], "true")

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

    def test_a_new_version_is_rolled_back_by_alarms_that_no_fault_of_twilio_raises(self):
        groups = self.of_type("AWS::CodeDeploy::DeploymentGroup")
        self.assertEqual(len(groups), len(ALL))
        for name, group in groups.items():
            function = name.removesuffix("FunctionDeploymentGroup")
            alarms = {one["Name"]["Ref"] for one in group["Properties"]["AlarmConfiguration"]["Alarms"]}
            # The error alarm of the sweep must not stop a deployment, because the sweep also fails if it cannot
            # read the list of users from Twilio.
            of_its_own = set() if function == "Sweep" else {f"{function}ErrorAlarm"}
            self.assertEqual(alarms, {"InternalErrorAlarm"} | of_its_own, name)
        (metric,) = self.of_type("AWS::Logs::MetricFilter").values()
        self.assertEqual(metric["Properties"]["LogGroupName"], {"Ref": "ApiLogs"})
        # The metric counts only status 500. If Twilio, an issuer or AWS fails, Flexgate answers with 502 or above
        # (docs/status-codes.md), so the failure does not raise the alarm.
        self.assertEqual(metric["Properties"]["FilterPattern"], '{ $.status = "500" && $.integration_error = "-" }')
        logged = json.loads(self.resources["Stage"]["Properties"]["AccessLogSettings"]["Format"])
        self.assertLessEqual({"status", "integration_error"}, set(logged))

    def test_an_alarm_watches_the_table_and_the_age_of_each_queue(self):
        watched = {(one["Properties"]["MetricName"], json.dumps(one["Properties"].get("Dimensions")))
                   for one in self.of_type("AWS::CloudWatch::Alarm").values()}
        for metric in ("ReadThrottleEvents", "WriteThrottleEvents"):
            self.assertIn((metric, json.dumps([{"Name": "TableName", "Value": {"Ref": "Table"}}])), watched)
        for queue in ("Events", "Bulk"):
            dimensions = [{"Name": "QueueName", "Value": {"Fn::GetAtt": [queue, "QueueName"]}}]
            self.assertIn(("ApproximateAgeOfOldestMessage", json.dumps(dimensions)), watched)

    def test_a_failed_sweep_is_not_tried_again_by_lambda(self):
        (config,) = self.of_type("AWS::Lambda::EventInvokeConfig").values()
        self.assertEqual(config["Properties"]["FunctionName"], {"Ref": "SweepFunction"})
        self.assertEqual(config["Properties"]["MaximumRetryAttempts"], 0)

    def test_lambda_does_not_stop_a_chain_of_jobs(self):
        functions = resolved().exist("AWS::Lambda::Function")
        self.assertEqual({name for name, one in functions.items() if "RecursiveLoop" in one}, {"ApplyFunction"})
        self.assertEqual(functions["ApplyFunction"]["RecursiveLoop"], "Allow")

    def test_r77_a_managed_secret_has_the_fields_and_the_rotation_of_its_type(self):
        role = {"RotationRoleArn": "arn:aws:iam::123456789012:role/rotation"}
        admin = {"RotationAdminSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin"}
        for kind, change, fields, metadata in [
            ("none", {}, ["accountSid", "authToken"], None),
            ("TwilioAuthToken", role, ["accountSid", "authToken"], None),
            ("TwilioApiKey", role | admin, ["accountSid", "apiKeySid", "apiKeySecret"],
             [{"Key": "adminSecretArn", "Value": admin["RotationAdminSecretArn"]}]),
        ]:
            with self.subTest(kind):
                stack = resolved({"TwilioSecretType": kind} | change)
                secret = stack.exist("AWS::SecretsManager::Secret")["TwilioSecret"]
                self.assertEqual(secret.get("Type", "none"), kind)
                self.assertEqual(list(json.loads(secret["SecretString"])), fields)
                rotations = list(stack.exist("AWS::SecretsManager::RotationSchedule").values())
                self.assertEqual(len(rotations), 0 if kind == "none" else 1)
                for rotation in rotations:
                    # An immediate first rotation would rotate the placeholder instead of a real credential.
                    self.assertIs(rotation["RotateImmediatelyOnUpdate"], False)
                    self.assertEqual(rotation.get("ExternalSecretRotationMetadata"), metadata)

    def test_an_alarm_is_on_if_no_sweep_has_run_for_a_day(self):
        alarm = self.resources["SweepIdleAlarm"]["Properties"]
        self.assertEqual((alarm["MetricName"], alarm["Dimensions"][0]["Value"]["Fn::Sub"]), ("Invocations", "${AWS::StackName}-sweep"))
        self.assertEqual(alarm["Period"] * alarm["EvaluationPeriods"], 86_400)
        self.assertEqual((alarm["ComparisonOperator"], alarm["TreatMissingData"]), ("LessThanThreshold", "breaching"))

    def test_the_queue_outwaits_its_consumer_and_has_a_dead_letter_queue(self):
        timeout = self.resources["ApplyFunction"]["Properties"]["Timeout"]
        mappings = self.of_type("AWS::Lambda::EventSourceMapping").values()
        for name in ("Events", "Bulk"):
            queue = self.resources[name]["Properties"]
            self.assertGreaterEqual(queue["VisibilityTimeout"], 6 * timeout)
            self.assertEqual(queue["RedrivePolicy"]["deadLetterTargetArn"], {"Fn::GetAtt": [f"Dead{name}", "Arn"]})
            # SQS limits the deliveries of a message. But Flexgate may need ten deliveries (the size of a batch) for one
            # attempt, because a message may have to wait for earlier messages of its group. So the limit must be high.
            self.assertEqual(queue["RedrivePolicy"]["maxReceiveCount"], 1000)
            source = {"Fn::GetAtt": [name, "Arn"]}
            (one,) = [one["Properties"] for one in mappings if one["Properties"]["EventSourceArn"] == source]
            self.assertEqual(one["FunctionResponseTypes"], ["ReportBatchItemFailures"])
            limit = {"Events": "ApplyConcurrency", "Bulk": "BulkConcurrency"}[name]
            self.assertEqual(one["ScalingConfig"], {"MaximumConcurrency": {"Ref": limit}})
            self.assertEqual((self.parameters[limit]["MinValue"], self.parameters[limit]["MaxValue"]), (2, 1000), "AWS's limits")
        self.assertEqual(len(mappings), 2)

    def test_apply_may_change_when_a_message_of_each_queue_comes_again(self):
        self.assertIn("sqs:ChangeMessageVisibility", self.actions("Apply", "Queue"))
        self.assertEqual(self.statements("Apply")["Queue"]["Resource"], [{"Fn::GetAtt": [name, "Arn"]} for name in ("Events", "Bulk")])
        variables = self.resources["ApplyFunction"]["Properties"]["Environment"]["Variables"]
        for variable, queue in (("FLEXGATE_QUEUE", "Events"), ("FLEXGATE_BULK_QUEUE", "Bulk")):
            self.assertEqual(variables[variable], {"Fn::Sub": "sqs:${%s}" % queue})

    def test_without_webhooks_there_are_queues_and_their_consumer_still(self):
        conditional = {name for name, one in self.resources.items() if one.get("Condition") == "Webhooks"}
        self.assertFalse(conditional & {"Events", "DeadEvents", "Bulk", "DeadBulk", "ApplyFunction", "ApplyExecutionRole"})

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
        self.assertEqual(len(alarms), 3 * len(ALL) + 14)
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
        (filtered,) = self.of_type("AWS::Logs::MetricFilter").values()
        (transformation,) = filtered["Properties"]["MetricTransformations"]
        self.assertEqual(transformation["MetricNamespace"], {"Fn::Sub": "Flexgate/${AWS::StackName}"})
        from_logs = {transformation["MetricName"]}
        from_code = {"upstream_failures", "credential_failures", "dead_letters", "inactive_but_active", "failing_for"}
        self.assertEqual(set(own.values()), from_code | from_logs)
        self.assertLessEqual(from_code, undimensioned)
        namespace = self.resources["SsoFunction"]["Properties"]["Environment"]["Variables"]["FLEXGATE_METRICS"]
        self.assertEqual(namespace, {"Fn::Sub": "emf:Flexgate/${AWS::StackName}"})

    def test_the_outputs_name_the_address_that_the_functions_use(self):
        api, domain = "<HttpApi>.execute-api.<AWS::Region>.<AWS::URLSuffix>", "gate.example.com"
        at_domain = {"DomainName": domain, "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1"}
        at_cdn = {"PublicUrl": "https://app.example.com"}
        for change, url, host in [
            ({}, f"https://{api}", api),
            (at_domain, f"https://{domain}", domain),
            (at_cdn, "https://app.example.com", api),
            (at_domain | at_cdn, "https://app.example.com", domain),
        ]:
            with self.subTest(change):
                stack = resolved(change)
                outputs = stack.outputs()
                for function in stack.exist("AWS::Lambda::Function").values():
                    self.assertEqual(function["Environment"]["Variables"]["FLEXGATE_PUBLIC_URL"], url)
                self.assertEqual(outputs["Url"], url)
                self.assertEqual(outputs["CallbackUrl"], url + "/sso/default/callback")
                self.assertEqual(outputs["ScimUrl"], url + "/scim/v2")
                self.assertEqual(outputs["ApiHost"], host)
                target = ("<Domain.RegionalDomainName>", "<Domain.RegionalHostedZoneId>") if "DomainName" in change else (None, None)
                self.assertEqual((outputs.get("DomainTarget"), outputs.get("DomainTargetZoneId")), target)

    def test_the_api_answers_only_at_its_custom_domain(self):
        domain = {"DomainName": "gate.example.com", "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1"}
        disabled = lambda change: resolved(change).exist("AWS::ApiGatewayV2::Api")["HttpApi"]["DisableExecuteApiEndpoint"]  # noqa: E731
        self.assertTrue(disabled(domain))
        self.assertTrue(disabled(domain | {"PublicUrl": "https://app.example.com"}))
        # The API's own address must work if there is no domain, or if the domain's DNS record does not exist yet.
        self.assertFalse(disabled({}))
        self.assertFalse(disabled({"PublicUrl": "https://app.example.com"}))
        self.assertFalse(disabled(domain | {"DisableDefaultEndpoint": "false"}))

    def test_an_address_of_a_parameter_cannot_break_the_outputs(self):
        accepts = lambda name, value: bool(re.fullmatch(self.parameters[name]["AllowedPattern"], value))  # noqa: E731
        for good in ("", "https://app.example.com", "http://localhost:8080"):
            self.assertTrue(accepts("PublicUrl", good), good)
        for bad in ("https://app.example.com/", "https://app.example.com/gate", "app.example.com", "https://a b", "https://a?b"):
            self.assertFalse(accepts("PublicUrl", bad), bad)
        for good in ("", "gate.example.com"):
            self.assertTrue(accepts("DomainName", good), good)
        for bad in ("https://gate.example.com", "gate.example.com/", "Gate.example.com", "gate", "gate..com"):
            self.assertFalse(accepts("DomainName", bad), bad)

    def test_r98_nobody_is_sent_to_a_path_that_has_no_route(self):
        routes = {route["Properties"]["RouteKey"].split()[1] for route in self.of_type("AWS::ApiGatewayV2::Route").values()}
        self.assertFalse({"/", "/openapi.json"} & routes)
        # An operator must give this parameter. Without a default address, Flexgate would redirect people to /, which
        # has no route.
        default = self.parameters["DefaultReturnTo"]
        self.assertNotIn("Default", default)
        for bad in ("", "/", "//", "//evil.example", "desk", "https://", "https:///desk", "/ desk"):
            self.assertIsNone(re.fullmatch(default["AllowedPattern"], bad), bad)
        for good in ("/desk", "/desk?queue=1#top", "https://desk.example.com", "https://desk.example.com/", "http://localhost:3000/desk"):
            self.assertIsNotNone(re.fullmatch(default["AllowedPattern"], good), good)
        given = self.resources["SsoFunction"]["Properties"]["Environment"]["Variables"]["FLEXGATE_DEFAULT_RETURN_TO"]
        self.assertEqual(given, {"Ref": "DefaultReturnTo"})
        for name, output in self.outputs.items():
            self.assertNotRegex(json.dumps(output["Value"]), r'(/|openapi\.json)"', name)

    def test_access_logs_hold_the_route_and_never_the_path(self):
        form = self.resources["Stage"]["Properties"]["AccessLogSettings"]["Format"]
        self.assertIn("$context.routeKey", form)
        self.assertNotIn("$context.path", form)
        self.assertNotIn("sourceIp", form)


if __name__ == "__main__":
    unittest.main()
