"""Tests which requests to the local AWS `policies.py` refuses."""

import json
import unittest

from policies import Statement, asked, statements, verdict

OWN = Statement(frozenset({"dynamodb:PutItem", "dynamodb:Query"}), frozenset({"Table"}), ("session#*", "walk"))


def refuses(operation, document, allowed=(OWN,), resource="Table"):
    actions, _, keys = asked(f"DynamoDB_20120810.{operation}", json.dumps({"TableName": "table", **document}))
    return verdict("sso", allowed, actions, resource, keys)


def key(pk):
    return {"pk": {"S": pk}, "sk": {"S": "1"}}


def put(pk):
    return {"Put": {"TableName": "table", "Item": key(pk)}}


class Guard(unittest.TestCase):
    def test_an_item_of_another_kind_is_refused(self):
        self.assertIsNone(refuses("PutItem", {"Item": key("session#1")}))
        self.assertIsNone(refuses("PutItem", {"Item": key("walk")}))
        self.assertEqual(refuses("PutItem", {"Item": key("user#1")}), "sso may not dynamodb:PutItem on Table user#*")
        # These kinds are not allowed, although they contain the name of an allowed kind.
        for other in ("sessions#1", "walk2", "a session#1"):
            self.assertIsNotNone(refuses("PutItem", {"Item": key(other)}))

    def test_an_action_of_another_statement_is_refused(self):
        self.assertIsNotNone(refuses("DeleteItem", {"Key": key("session#1")}))
        bindings = Statement(frozenset({"dynamodb:DeleteItem"}), frozenset({"Table"}), ("user#*",))
        self.assertIsNotNone(refuses("DeleteItem", {"Key": key("session#1")}, (OWN, bindings)))
        self.assertIsNone(refuses("DeleteItem", {"Key": key("user#1")}, (OWN, bindings)))

    def test_a_query_is_judged_by_its_partition_key(self):
        query = lambda pk: {"KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)",  # noqa: E731
                            "ExpressionAttributeValues": {":pk": {"S": pk}, ":prefix": {"S": "session#"}}}
        self.assertIsNone(refuses("Query", query("session#1")))
        self.assertIsNotNone(refuses("Query", query("user#1")))

    def test_one_statement_must_allow_every_key_of_a_batch_and_of_a_transaction(self):
        reads = lambda *kinds: Statement(frozenset({"dynamodb:BatchGetItem"}), frozenset({"Table"}), kinds)  # noqa: E731
        batch = {"RequestItems": {"table": {"Keys": [key("person#1"), key("scim#1")]}}}
        self.assertIsNotNone(refuses("BatchGetItem", batch, (reads("person#*"), reads("scim#*"))))
        self.assertIsNone(refuses("BatchGetItem", batch, (reads("person#*", "scim#*"),)))
        writes = {"TransactItems": [put("session#1"), put("session_list#1")]}
        listing = Statement(frozenset({"dynamodb:PutItem"}), frozenset({"Table"}), ("session_list#*",))
        self.assertIsNotNone(refuses("TransactWriteItems", writes, (OWN, listing)))
        self.assertIsNone(refuses("TransactWriteItems", {"TransactItems": [put("session#1"), put("walk")]}))

    def test_a_request_without_a_key_is_judged_by_its_action(self):
        self.assertIsNotNone(refuses("Scan", {}))
        self.assertIsNotNone(refuses("PutItem", {"Item": key("session#1")}, resource="Other"))

    def test_a_condition_that_the_guard_does_not_know_is_an_error(self):
        role = lambda condition: {"Policies": [{"PolicyDocument": {"Statement": [  # noqa: E731
            {"Action": "dynamodb:PutItem", "Resource": "<Table.Arn>", "Condition": condition}]}}]}
        (read,) = statements(role({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["session#*"]}}))
        self.assertEqual(read, Statement(frozenset({"dynamodb:PutItem"}), frozenset({"Table"}), ("session#*",)))
        for condition in ({"StringLike": {"dynamodb:LeadingKeys": ["a#*"]}}, {"ForAllValues:StringLike": {"dynamodb:Attributes": ["a"]}}):
            with self.assertRaises(AssertionError):
                list(statements(role(condition)))


if __name__ == "__main__":
    unittest.main()
