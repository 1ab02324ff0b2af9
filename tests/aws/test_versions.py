"""Tests which deployments publish new versions of the functions: those that change a function's settings or its
code.
"""

import re
import sys
import unittest

from cfnlint.schema.manager import PROVIDER_SCHEMA_MANAGER
from resolve import Stack
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse
from test_template import ALL, PARAMETERS, ROOT, NoManagedPolicies

sys.path.insert(0, str(ROOT / "infra"))
from package import with_code  # noqa: E402

TEXT = (ROOT / "infra/template.yaml").read_text()
# Another valid value for each parameter.
OTHER = {
    "TwilioAccountSid": "AC00000000000000000000000000000002",
    "TwilioInstanceSid": "GO00000000000000000000000000000002",
    "TwilioRegion": "ie1",
    "TwilioUrl": "https://twilio.example",
    "SsoProfiles": "default=JQ00000000000000000000000000000002",
    "Issuers": '[{"issuer": "https://idp.example"}]',
    "AllowedRoles": "agent",
    "DefaultRoles": "agent,supervisor",
    "JustInTime": "create",
    "MaxTtlSeconds": "7200",
    "MintsPerMinute": "60",
    "ScimGroupRoles": '{"Leads": "supervisor"}',
    "ScimAttributes": "language.string",
    "ScimLastAdmin": "allow",
    "SessionSeconds": "28800",
    "SessionIdleSeconds": "3600",
    "SessionPolicies": '{"default": {"sessions_per_person": 1}}',
    "SessionAddress": "full",
    "OrphanDays": "30",
    "IdleDays": "30",
    "AllowedOrigins": "https://desk.example",
    "DefaultReturnTo": "https://desk.example/start",
    "PageName": "Example Company",
    "PageLogo": "https://cdn.example/logo.svg",
    "PageHelp": "mailto:help@example.com",
    "TrustedProxies": "1",
    "TrustedNetworks": "203.0.113.0/24",
    "CdnSecretSha256": "0" * 64,
    "PublicUrl": "https://app.example.com",
    "DomainName": "gate.example.com",
    "CertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1",
    "DisableDefaultEndpoint": "false",
    "WebhookSources": '{"workos": {}}',
    "GraphSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:graph",
    "GraphUrl": "https://graph.microsoft.us",
    "GraphLoginUrl": "https://login.microsoftonline.us",
    "ApplyConcurrency": "20",
    "BulkConcurrency": "10",
    "ApplyTries": "20",
    "SweepSchedule": "rate(1 hour)",
    "SignInRate": "300",
    "SignInBurst": "600",
    "DefaultRate": "20",
    "DefaultBurst": "40",
    "SsoConcurrency": "100",
    "MintConcurrency": "50",
    "ProvisionConcurrency": "20",
    "WebhooksConcurrency": "10",
    "TwilioSecretType": "TwilioApiKey",
    "RotationRoleArn": "arn:aws:iam::123456789012:role/rotation",
    "RotationAdminSecretArn": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin",
    "RotationDays": "7",
    "DeletionProtection": "true",
    "PermissionsBoundaryArn": "arn:aws:iam::123456789012:policy/boundary",
    "AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:alarms",
    "Canary": "false",
    "Architecture": "x86_64",
    "LogLevel": "debug",
    "LogRetentionDays": "30",
}
# Parameters that no function reads. They change only other resources.
NOT_A_SETTING = {
    "CertificateArn", "DisableDefaultEndpoint", "SweepSchedule", "TwilioSecretType", "RotationRoleArn", "RotationAdminSecretArn",
    "RotationDays",
    "DeletionProtection", "PermissionsBoundaryArn", "AlarmTopicArn", "Canary", "LogRetentionDays", "SignInRate", "SignInBurst",
    "DefaultRate", "DefaultBurst", "ApplyConcurrency", "BulkConcurrency",
}


def stack(change=None, code="1", text=TEXT):
    """Returns the stack with changed parameters. The code of each function is in a file named after `code`. If `code`
    is a pair, only one function has changed code.
    """
    changed, mark = code if isinstance(code, tuple) else (None, code)
    uri = lambda name: f"s3://bucket/{name}-{mark if changed in (None, name) else '1'}.zip"  # noqa: E731
    parameters = PARAMETERS | (change or {})
    return Stack(transform(yaml_parse(with_code(text, uri)), dict(parameters), NoManagedPolicies()), parameters)


def versions(of):
    """Returns for each function the logical ID and the properties of its AWS::Lambda::Version. If any of these changes,
    CloudFormation replaces the resource, which publishes a new version.
    """
    found = {}
    for logical_id, properties in of.exist("AWS::Lambda::Version").items():
        found[properties["FunctionName"].strip("<>").removesuffix("Function")] = (logical_id, tuple(sorted(properties.items())))
    return found


def functions(of, description=False):
    found = of.exist("AWS::Lambda::Function")
    return {name: {key: value for key, value in one.items() if description or key != "Description"} for name, one in found.items()}


class Versions(unittest.TestCase):
    def test_r74_a_change_of_any_setting_publishes_every_function(self):
        before = stack()
        self.assertEqual(set(versions(before)), set(ALL))
        self.assertEqual(set(OTHER), set(before.template["Parameters"]), "a value for each parameter")
        for name, value in OTHER.items():
            with self.subTest(name):
                self.assertNotEqual(before.parameters.get(name), value)
                after = stack({name: value})
                is_setting = functions(before) != functions(after)
                self.assertEqual(is_setting, name not in NOT_A_SETTING, "the parameter reaches a function")
                for function, version in versions(before).items():
                    published = versions(after)[function] != version
                    self.assertEqual(published, is_setting, function)

    def test_r74_the_settings_are_complete(self):
        template = stack().template

        def names(value):
            """Returns all parameters and resources that a value refers to, directly or through conditions."""
            if isinstance(value, list):
                return set().union(*map(names, value)) if value else set()
            if not isinstance(value, dict):
                return set()
            found = set()
            for key, one in value.items():
                if key == "Ref":
                    found.add(one)
                elif key == "Fn::GetAtt":
                    found.add(one.split(".")[0] if isinstance(one, str) else one[0])
                elif key == "Fn::Sub":
                    text, own = one if isinstance(one, list) else (one, {})
                    variables = {name.split(".")[0] for name in re.findall(r"\$\{([^}]+)\}", text)}
                    found |= (variables - set(own)) | names(own)
                elif key == "Fn::If":
                    found |= names(template["Conditions"][one[0]]) | names(one[1:])
                else:
                    found |= names(one)
            return found

        listed = names(template["Resources"]["Settings"]["Properties"]["Content"])
        for name in ALL:
            used = names(template["Resources"][f"{name}Function"]["Properties"])
            missing = {one for one in used if not one.startswith("AWS::")} - listed - {"Settings"}
            self.assertEqual(missing, set(), f"{name}: add this to Settings in infra/template.yaml")

    def test_r74_a_change_of_code_publishes_the_function_that_changed(self):
        before = versions(stack())
        for name in ALL:
            after = versions(stack(code=(name, "2")))
            self.assertEqual([one for one in ALL if after[one] != before[one]], [name])

    def test_r74_a_change_of_the_template_publishes_too(self):
        text = TEXT.replace("      Timeout: 60\n", "      Timeout: 50\n")
        before, after = versions(stack()), versions(stack(text=text))
        self.assertEqual([one for one in ALL if after[one] != before[one]], ["Apply"])

    def test_r74_the_same_settings_and_code_publish_nothing(self):
        self.assertEqual(versions(stack()), versions(stack()))
        self.assertEqual(versions(stack(OTHER, "2")), versions(stack(OTHER, "2")))

    def test_r74_lambda_never_sees_a_new_version_of_an_unchanged_function(self):
        # Lambda refuses to publish a function that has not changed since its last version, and then the deployment
        # fails. So the template must give a function a new version only if it also changes the function.
        before = stack()
        for name, value in OTHER.items():
            with self.subTest(name):
                after = stack({name: value})
                for function, version in versions(before).items():
                    key = f"{function}Function"
                    changed = functions(before, description=True)[key] != functions(after, description=True)[key]
                    self.assertEqual(changed, versions(after)[function] != version, function)

    def test_r74_cloudformation_replaces_a_version_whose_description_changes(self):
        for kind, key in (("AWS::Lambda::Version", "Description"), ("AWS::AppConfig::HostedConfigurationVersion", "Content")):
            schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", kind).schema
            self.assertIn(f"/properties/{key}", schema["createOnlyProperties"], kind)

    def test_r74_traffic_goes_to_the_published_version(self):
        resources = stack().resources
        for name in ALL:
            (version,) = [key for key in resources if re.fullmatch(rf"{name}FunctionVersion\w+", key)]
            alias = resources[f"{name}FunctionAliaslive"]["Properties"]
            self.assertEqual(alias["FunctionVersion"], {"Fn::GetAtt": [version, "Version"]})


if __name__ == "__main__":
    unittest.main()
