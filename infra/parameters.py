#!/usr/bin/env python3
"""Writes the description of infra/template.yaml for `flexgate doctor --template-parameters`: the parameters, the rules
that they must follow, and the environment variables that each function gets from them.

    target/tools/aws/bin/python infra/parameters.py

tests/aws/test_parameters.py fails if the file is out of date.
"""

import json
from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "infra/cli/src/doctor/parameters/template.json"


def parameter(name, rules):
    description = rules.get("Description", "")
    found = {
        "name": name,
        "description": description,
        "is_number": rules["Type"] == "Number",
        # The template has no type for JSON, so look for the word "JSON" in the description.
        "is_json": "JSON" in description,
        "is_required": "Default" not in rules,
        "default": text(rules.get("Default", "")),
        "pattern": rules.get("AllowedPattern"),
        "constraint": rules.get("ConstraintDescription"),
        "allowed": [text(value) for value in rules.get("AllowedValues", [])],
        "min": rules.get("MinValue"),
        "max": rules.get("MaxValue"),
    }
    return {key: value for key, value in found.items() if not (value is None or value is False or value == [])}


def text(value):
    return str(value).lower() if isinstance(value, bool) else str(value)


def source(value, parameters):
    """Returns the parameter that sets a property, or None. The value may also be an Fn::If with the parameter in one
    branch.
    """
    if not isinstance(value, dict):
        return None
    ((kind, operand),) = value.items()
    if kind == "Ref":
        return operand if operand in parameters else None
    if kind == "Fn::If":
        return source(operand[1], parameters) or source(operand[2], parameters)
    return None


def condition(name, template):
    """If a condition says that a parameter is not empty, returns the parameter. Otherwise returns None."""
    match template["Conditions"].get(name):
        case {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, ""]}]}:
            return parameter
    return None


def function(name, resource, template):
    parameters, properties = template["Parameters"], resource["Properties"]
    everyone = template["Globals"]["Function"]["Environment"]["Variables"]
    variables = everyone | properties.get("Environment", {}).get("Variables", {})
    found = {
        "name": name.removesuffix("Function").lower(),
        "deployed_if": condition(resource.get("Condition"), template),
        "reserved": source(properties.get("ReservedConcurrentExecutions"), parameters),
        "variables": {variable: source(value, parameters) for variable, value in variables.items()},
    }
    return {key: value for key, value in found.items() if value is not None}


def rule(rules):
    """Parses a rule of this form: if one parameter is not empty, another parameter must not have a certain value."""
    match rules:
        case {
            "RuleCondition": {"Fn::Not": [{"Fn::Equals": [{"Ref": given}, ""]}]},
            "Assertions": [{"Assert": {"Fn::Not": [{"Fn::Equals": [{"Ref": parameter}, wrong]}]}, "AssertDescription": problem}],
        }:
            return {"given": given, "parameter": parameter, "wrong": text(wrong), "problem": problem}
    raise SystemExit(f"flexgate doctor knows no rule like {rules}: describe it in infra/parameters.py")


def described(template):
    functions = [
        function(name, resource, template)
        for name, resource in template["Resources"].items() if resource["Type"] == "AWS::Serverless::Function"
    ]
    return {
        "parameters": [parameter(name, rules) for name, rules in template["Parameters"].items()],
        "rules": [rule(rules) for rules in template.get("Rules", {}).values()],
        "functions": functions,
    }


def written():
    template = yaml_parse((ROOT / "infra/template.yaml").read_text())
    return json.dumps(described(template), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(written())
