"""Evaluates a template after SAM's transform, as CloudFormation does. Supports what the templates in infra use."""

import hashlib
import json
import re


class Stack:
    """A transformed template with values for its parameters."""

    def __init__(self, template, parameters):
        self.template, self.resources = template, template["Resources"]
        defaults = {name: str(one["Default"]) for name, one in template["Parameters"].items() if "Default" in one}
        self.parameters = defaults | parameters

    def holds(self, condition):
        if isinstance(condition, str):
            return self.holds(self.template["Conditions"][condition])
        ((kind, operands),) = condition.items()
        if kind == "Condition":
            return self.holds(operands)
        if kind == "Fn::Equals":
            return self.value(operands[0]) == self.value(operands[1])
        return {"Fn::Not": lambda all_: not all_[0], "Fn::And": all, "Fn::Or": any}[kind]([self.holds(one) for one in operands])

    def attribute(self, name, attribute):
        """Returns an attribute of a resource. AppConfig gives each text a new version number, so return a hash for this
        number.
        """
        if self.resources[name]["Type"] == "AWS::AppConfig::HostedConfigurationVersion":
            properties = self.value(self.resources[name]["Properties"])
            return hashlib.sha256(json.dumps(properties, sort_keys=True).encode()).hexdigest()
        return f"<{name}.{attribute}>"

    def named(self, name):
        if name.startswith("AWS::"):
            return f"<{name}>"
        if name in self.parameters:
            return self.parameters[name]
        assert name in self.resources, name
        return f"<{name}>"

    def text(self, text, own):
        def one(variable):
            name, _, attribute = variable[1].partition(".")
            return own[name] if name in own else self.attribute(name, attribute) if attribute else self.named(name)

        return re.sub(r"\$\{([^}]+)\}", one, text)

    def value(self, value):
        if isinstance(value, list):
            found = [self.value(one) for one in value]
            return [one for one in found if one != "<AWS::NoValue>"]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((kind, operand),) = value.items()
            if kind == "Ref":
                return self.named(operand)
            if kind == "Fn::GetAtt":
                return self.attribute(*(operand.split(".", 1) if isinstance(operand, str) else operand))
            if kind == "Fn::If":
                return self.value(operand[1] if self.holds(operand[0]) else operand[2])
            if kind == "Fn::Sub":
                text, own = operand if isinstance(operand, list) else (operand, {})
                return self.text(text, {name: self.value(one) for name, one in own.items()})
            if kind == "Fn::Join":
                separator, parts = self.value(operand)
                return separator.join([parts] if isinstance(parts, str) else parts)
            if kind == "Fn::FindInMap":
                table, row, column = operand
                return self.template["Mappings"][table][row][column]
            assert not kind.startswith("Fn::"), kind
        found = {name: self.value(one) for name, one in value.items()}
        return {name: one for name, one in found.items() if one != "<AWS::NoValue>"}

    def exist(self, kind):
        """Returns the resources of a type whose condition is true, with evaluated properties."""
        return {
            name: self.value(one.get("Properties", {})) for name, one in self.resources.items()
            if one["Type"] == kind and ("Condition" not in one or self.holds(one["Condition"]))
        }

    def outputs(self):
        found = self.template["Outputs"].items()
        return {name: self.value(one["Value"]) for name, one in found if "Condition" not in one or self.holds(one["Condition"])}
