"""Serves moto's AWS at 127.0.0.1, one request at a time: `emulator.py PORT`.

moto's own server handles requests in threads, and its DynamoDB is not isolated: two transactions can both find their
condition true, and one that is cancelled puts back a copy of the whole table. A test of racing writers needs the
isolation that DynamoDB has.
"""

import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import run_simple


class OneAtATime:
    def __init__(self, app) -> None:
        self.app, self.lock = app, threading.Lock()

    def __call__(self, environ, start_response):
        with self.lock:
            return list(self.app(environ, start_response))


if __name__ == "__main__":
    app = OneAtATime(DomainDispatcherApplication(create_backend_app))
    run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=MotoRequestHandler)
