"""A page that counts its visits in Redis."""

import os
import socket

import redis
from flask import Flask

app = Flask(__name__)
store = redis.Redis(host=os.environ.get("REDIS_HOST", "redis"), socket_timeout=2, retry_on_timeout=True)


@app.get("/")
def count():
    visits = store.incr("visits")
    return f"Hello! You are visitor number {visits}. Served by {socket.gethostname()}.\n"


@app.get("/healthz")
def healthz():
    return "ok\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000, threaded=True)
