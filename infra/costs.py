#!/usr/bin/env python3
"""Prints the table in docs/deploy.md with Flexgate's monthly costs on AWS: `infra/costs.py`.

The prices are in USD, as published in 2025 for us-east-1 and arm64, without the free tier. `tests/bench/run units`
measured the numbers of DynamoDB units.
"""

AGENTS = (1_000, 10_000, 100_000)
DAYS = 22
# How often an agent's page calls Flexgate on a working day of eight hours. The page refreshes the token every 55
# minutes. Between the refreshes, it uses the session every 4 minutes while the agent works.
REFRESHES, USES = 9, 8 * 60 // 4 - 9
REQUESTS = 2 + REFRESHES + USES
# The duration of an invocation in seconds, first of one that calls Twilio and then of one that does not. The callback
# and each refresh call Twilio.
WITH_TWILIO, WITHOUT = 0.3, 0.02
SECONDS = (1 + REFRESHES) * WITH_TWILIO + (1 + USES) * WITHOUT
WRITES = 5 + REFRESHES * 3 + USES * 1
READS = 5 + REFRESHES * 6 + USES * 3
MILLION = 1_000_000
# The number of execution environments that each of `sso`, `mint` and `provision` has, by the number of agents. Each
# environment reads a secret every 300 s.
ENVIRONMENTS = {1_000: 5, 10_000: 30, 100_000: 300}
SECRETS, ALARMS, METRICS = 4, 32, 42


def rows():
    """Returns the rows of the table: the part, the calculation as text, and a function from the number of agents to the
    costs."""
    month = lambda agents: agents * DAYS  # noqa: E731
    requests = lambda agents: month(agents) * REQUESTS  # noqa: E731
    return [
        ("HTTP API", f"agents × {DAYS} × {REQUESTS} requests × 1.00 / M", lambda n: requests(n) / MILLION * 1.00),
        ("Lambda requests", "the same × 0.20 / M", lambda n: requests(n) / MILLION * 0.20),
        ("Lambda time", f"agents × {DAYS} × {SECONDS:.2f} s × 0.5 GB × 0.0000133334", lambda n: month(n) * SECONDS * 0.5 * 0.0000133334),
        ("DynamoDB writes", f"agents × {DAYS} × {WRITES} units × 0.625 / M", lambda n: month(n) * WRITES / MILLION * 0.625),
        ("DynamoDB reads", f"agents × {DAYS} × {READS} units × 0.125 / M", lambda n: month(n) * READS / MILLION * 0.125),
        ("Logs", "1.3 kB a request × 0.50 / GB", lambda n: requests(n) * 1.3e-6 * 0.50),
        ("Traces", "5 % of the requests × 5.00 / M", lambda n: requests(n) * 0.05 / MILLION * 5.00),
        ("Secret reads", "3 functions × environments (" + ", ".join(map(str, ENVIRONMENTS.values())) + ", by column) × 8,640 reads × 0.05 / 10,000",
         lambda n: 3 * ENVIRONMENTS[n] * 8_640 / 10_000 * 0.05),
        ("Secrets", f"{SECRETS} × 0.40", lambda n: SECRETS * 0.40),
        ("Queues", "2 queues × 5 pollers × 129,600 requests × 0.50 / M", lambda n: 2 * 5 * 129_600 / MILLION * 0.50),
        ("Alarms", f"{ALARMS} × 0.10", lambda n: ALARMS * 0.10),
        ("Own metrics", f"{METRICS} × 0.30", lambda n: METRICS * 0.30),
    ]


def edge(agents):
    """Returns the costs of infra/edge.yaml: the web ACL, its two rules, and each request at CloudFront, WAF and the
    CloudFront function."""
    return 5 + 2 * 1 + agents * DAYS * REQUESTS / MILLION * (1.00 + 0.10 + 0.60)


def table():
    """Returns the table for docs/deploy.md."""
    cell = lambda usd: f"{usd:,.2f}"  # noqa: E731
    lines = [["part", "arithmetic", *(f"{agents:,} agents" for agents in AGENTS)], ["---"] * (2 + len(AGENTS))]
    lines += [[name, how, *(cell(cost(agents)) for agents in AGENTS)] for name, how, cost in rows()]
    totals = [sum(cost(agents) for _, _, cost in rows()) for agents in AGENTS]
    lines.append(["total, USD a month", "", *map(cell, totals)])
    lines.append(["extra cost of `infra/edge.yaml`", "5.00 + 2 rules × 1.00 + requests × 1.70 / M", *(cell(edge(agents)) for agents in AGENTS)])
    return "\n".join(f"| {' | '.join(line)} |".replace("  ", " ") for line in lines)


if __name__ == "__main__":
    print(table())
