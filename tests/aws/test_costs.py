"""Checks that docs/deploy.md contains the table that infra/costs.py prints, and that the numbers match the template."""

import sys
import unittest

from test_template import ROOT, resolved

sys.path.insert(0, str(ROOT / "infra"))
import costs  # noqa: E402


class Costs(unittest.TestCase):
    def test_the_documentation_has_the_table(self):
        self.assertIn(costs.table(), (ROOT / "docs/deploy.md").read_text(), "copy what infra/costs.py prints")

    def test_the_table_counts_the_alarms_and_secrets_of_the_template(self):
        stack = resolved()
        self.assertEqual(len(stack.exist("AWS::CloudWatch::Alarm")), costs.ALARMS)
        self.assertEqual(len(stack.exist("AWS::SecretsManager::Secret")), costs.SECRETS)

    def test_no_route_has_metrics_of_its_own(self):
        stage = resolved().exist("AWS::ApiGatewayV2::Stage")["Stage"]
        for settings in [stage["DefaultRouteSettings"], *stage["RouteSettings"].values()]:
            self.assertNotIn("DetailedMetricsEnabled", settings)


if __name__ == "__main__":
    unittest.main()
