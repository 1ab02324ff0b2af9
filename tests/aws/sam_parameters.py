"""Prints the template parameters that `sam ARGUMENTS` would deploy, as JSON. Runs in SAM CLI's own environment, with SAM
CLI's own command line and configuration file. Only the deployment itself is left out.
"""

import json
import sys

from samcli.cli.main import cli
from samcli.commands.deploy import command

deployed = []
command.do_cli = lambda *given, **named: deployed.append(given)
cli.main(args=sys.argv[1:], standalone_mode=False)
(given,) = deployed
# The other dictionary is for code signing.
print(json.dumps(next(one for one in given if isinstance(one, dict))))
