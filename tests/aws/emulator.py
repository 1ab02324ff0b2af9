"""Serves moto's AWS at 127.0.0.1, one request at a time: `emulator.py PORT`.

moto's own server handles requests in threads, and its DynamoDB is not isolated: two transactions can both find their
condition true, and one that is cancelled puts back a copy of the whole table. A test of racing writers needs the
isolation that DynamoDB has.

Before each transaction moto copies every item of the table, to put it back if the transaction is cancelled. That makes
a transaction slower the more the table holds. Here it copies which items there are, and an update replaces its item
instead of changing it in place, so the copy stays as it was.
"""

import collections
import copy
import sys
import threading

from moto.dynamodb.models import DynamoDBBackend
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple


def copied(table: Table, _memo) -> Table:
    copy_of_table = copy.copy(table)
    both = {key: dict(value) if table.has_range_key else value for key, value in table.items.items()}
    copy_of_table.items = collections.defaultdict(dict, both)
    return copy_of_table


update_in_place = DynamoDBBackend.update_item


def update_item(self, table_name, key, *arguments, **named):
    table = self.get_table(table_name)
    item = self.get_item(table_name, key)
    if item is not None and table.has_range_key:
        table.items[item.hash_key][item.range_key] = copy.deepcopy(item)
    elif item is not None:
        table.items[item.hash_key] = copy.deepcopy(item)
    return update_in_place(self, table_name, key, *arguments, **named)


Table.__deepcopy__ = copied
DynamoDBBackend.update_item = update_item


class OneAtATime:
    def __init__(self, app) -> None:
        self.app, self.lock = app, threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            return list(self.app(environ, start_response))


if __name__ == "__main__":
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler)
