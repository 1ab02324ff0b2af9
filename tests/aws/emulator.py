"""Serves moto's AWS emulation at 127.0.0.1, one request at a time: `emulator.py PORT`.

moto's own server handles requests in parallel threads, but its DynamoDB does not isolate transactions. Two transactions
can both find their conditions true, and a cancelled one overwrites the whole table with an old copy. Tests with racing
writers need real isolation.

Before each transaction, moto copies every item of the table, so a transaction becomes slower as the table grows. This
module saves and restores only the items that the transaction names.
"""

import copy
import sys
import threading

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple


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


class OneAtATime:
    def __init__(self, app) -> None:
        self.app, self.lock = app, threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            return list(self.app(environ, start_response))


if __name__ == "__main__":
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler)
