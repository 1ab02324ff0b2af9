"""Prints the template parameters that `sam ARGUMENTS` would deploy, as JSON. Runs in SAM CLI's virtual environment, and
uses SAM CLI's parsers for the command line and the configuration file. Does everything except the deployment.
"""

import json
import sys

from samcli.cli.main import cli
from samcli.commands.deploy import command

deployed = []
command.do_cli = lambda *given, **named: deployed.append(given)
cli.main(args=sys.argv[1:], standalone_mode=False)
(given,) = deployed
# `given` contains two dictionaries. The first contains the template's parameters, and the other is for code signing.
print(json.dumps(next(one for one in given if isinstance(one, dict))))
