"""Serves moto's AWS emulation at 127.0.0.1, one request at a time: `emulator.py PORT`.

moto's own server handles requests in parallel threads, but its DynamoDB does not isolate transactions. Two transactions
can both find their conditions true, and a cancelled one overwrites the whole table with an old copy. Tests with racing
writers need real isolation.

Before each transaction, moto copies every item of the table, so a transaction becomes slower as the table grows. This
module saves and restores only the items that the transaction names.

moto ignores `ClientRequestToken`. Like DynamoDB, this module answers a repeated transaction with the first answer.

If a client's user agent names a function (`app/flexgate-sso`), this module allows only what the function's role in
infra/template.yaml allows. For `app/flexgate-any`, it allows what any role or an operator may do. So a test of the
store fails if the code uses a kind of item that no role lists.
"""

import copy
import io
import json
import sys
import threading

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from policies import AGENT, Statement, asked, statements, verdict
from test_template import ALL, resolved
from werkzeug.serving import run_simple

# Additional permissions that operator commands need. The commands run with the operator's own credentials.
PEOPLE = ("person#*", "people#*", "username#*", "flex_user#*", "subject_of#*", "scim#*", "claims#*", "webhook#*", "api#*", "operator#*")
OPERATOR = [
    ({"PutItem", "UpdateItem"}, PEOPLE),
    ({"GetItem", "Query", "DeleteItem"}, ("dead_letters",)),
    ({"Query"}, ("notes#*",)),
    ({"GetItem", "UpdateItem"}, ("sign_in_state",)),
]

write_all = DynamoDBBackend.transact_write_items


def transact_write_items(self, transact_items):
    before = []
    for operation in (next(iter(item.values())) for item in transact_items):
        table = self.get_table(operation["TableName"])
        names = [table.hash_key_attr, table.range_key_attr]
        attributes = operation.get("Key") or operation["Item"]
        key = {name: attributes[name] for name in names if name is not None}
        before.append((table, key, copy.deepcopy(self.get_item(table.name, key))))
    try:
        write_all(self, transact_items)
    except Exception:
        for table, key, item in before:
            hash_key, range_key = (DynamoType(value) for value in key.values())
            table.delete_item(hash_key, range_key)
            if item is not None:
                table.items[hash_key][range_key] = item
        raise


Table.__deepcopy__ = lambda table, _memo: table
DynamoDBBackend.transact_write_items = transact_write_items


def roles():
    exist = resolved({"OrphanDays": "30"}).exist("AWS::IAM::Role")
    found = {name.lower(): list(statements(exist[f"{name}ExecutionRole"])) for name in ALL}
    operator = [Statement(frozenset(f"dynamodb:{one}" for one in actions), frozenset({"Table"}), keys) for actions, keys in OPERATOR]
    return found | {"any": [one for some in found.values() for one in some] + operator}


class OneAtATime:
    def __init__(self, app) -> None:
        self.app, self.lock, self.roles, self.transactions = app, threading.Lock(), roles(), {}

    def __call__(self, environ, start_response):
        target, body = environ.get("HTTP_X_AMZ_TARGET") or "", b""
        if target.startswith("DynamoDB"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            environ["wsgi.input"] = io.BytesIO(body)
            if problem := self.problem(environ, target, body):
                print(problem, flush=True)
                start_response("400 Bad Request", [("content-type", "application/x-amz-json-1.0")])
                return [json.dumps({"__type": "AccessDeniedException", "message": problem}).encode()]
        with self.lock:
            if target.endswith(".TransactWriteItems"):
                return self.transact(json.loads(body)["ClientRequestToken"], environ, start_response)
            return list(self.app(environ, start_response))

    def problem(self, environ, target, body):
        """Returns why the role of the calling function does not allow the request, or `None` if the role allows it."""
        function = AGENT.search(environ.get("HTTP_X_AMZ_USER_AGENT") or environ.get("HTTP_USER_AGENT") or "")
        if not function:
            return None
        actions, _, keys = asked(target, body)
        return verdict(function.group(1), self.roles[function.group(1)], actions, "Table", keys)

    def transact(self, token, environ, start_response):
        if token in self.transactions:
            status, headers, answer = self.transactions[token]
            start_response(status, headers)
            return answer
        started = []
        answer = list(self.app(environ, lambda status, headers, *_: started.append((status, headers))))
        status, headers = started[0]
        if status.startswith("200"):
            self.transactions[token] = (status, headers, answer)
        start_response(status, headers)
        return answer


if __name__ == "__main__":
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler)
