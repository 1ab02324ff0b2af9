"""Tests the rules for DynamoDB's capacity units against the examples in AWS's developer guide."""

import unittest

from units import item_size, read_cost, size, write_cost

KEY = {"pk": {"S": "session#1"}, "sk": {"S": "session"}}


def item(bytes_):
    return KEY | {"text": {"S": "x" * (bytes_ - item_size(KEY) - len("text"))}}


class Units(unittest.TestCase):
    def test_a_size_counts_names_and_values(self):
        self.assertEqual(item_size({"pk": {"S": "é"}, "n": {"N": "27"}, "b": {"BOOL": True}}), 4 + 3 + 2)
        for number, expected in {"0": 1, "5": 2, "-5": 3, "1764278400": 5, "100": 2, "0.25": 2}.items():
            self.assertEqual(size({"N": number}), expected, number)
        self.assertEqual(size({"M": {"a": {"L": [{"NULL": True}]}}}), 3 + 1 + 1 + 3 + 1 + 1)
        self.assertEqual(size({"SS": ["ab", "c"]}), 3)

    def test_a_write_costs_a_unit_for_each_started_kilobyte_of_the_larger_item(self):
        cost = lambda before, after, factor=1: write_cost("PutItem", KEY, before, after, factor).writes  # noqa: E731
        self.assertEqual(cost(None, item(1024)), 1)
        self.assertEqual(cost(None, item(1025)), 2)
        self.assertEqual(cost(item(3000), item(100)), 3)
        self.assertEqual(cost(None, None), 1, "a removal of nothing")
        # The example in AWS's guide, "3 transactional writes per second on 500-byte items", needs 6 units.
        self.assertEqual(3 * cost(None, item(500), 2), 6)

    def test_a_read_costs_a_unit_for_each_started_four_kilobytes(self):
        cost = lambda bytes_, consistent=True: read_cost("GetItem", "session#1", bytes_, consistent).reads  # noqa: E731
        self.assertEqual([cost(0), cost(4096), cost(4097)], [1, 1, 2])
        self.assertEqual([cost(0, False), cost(8192, False)], [0.5, 1])


if __name__ == "__main__":
    unittest.main()
