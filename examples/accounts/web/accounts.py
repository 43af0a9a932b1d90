"""People and their sessions, in PostgreSQL."""

import hashlib
import os
import secrets
from contextlib import contextmanager

import psycopg2
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

SESSION_SECONDS = 7 * 24 * 3600

SCHEMA = """
CREATE TABLE IF NOT EXISTS people (name text PRIMARY KEY, password_hash text NOT NULL);
CREATE TABLE IF NOT EXISTS sessions (
    token_hash bytea PRIMARY KEY,
    name text NOT NULL REFERENCES people ON DELETE CASCADE,
    expires timestamptz NOT NULL
);
"""

hasher = PasswordHasher()  # argon2id, a salt of its own for each password
# What a name that nobody has is checked against, so that it takes as long as one that somebody has.
NOBODY = hasher.hash(secrets.token_urlsafe())


@contextmanager
def cursor():
    connection = psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=3)
    try:
        with connection, connection.cursor() as opened:  # commits, or rolls back on an exception
            yield opened
    finally:
        connection.close()


def migrate():
    with cursor() as sql:
        sql.execute("SELECT pg_advisory_xact_lock(1)")  # two workers that start at once
        sql.execute(SCHEMA)


def create(name, password):
    """Whether the account could be made: a name belongs to one person."""
    with cursor() as sql:
        sql.execute(
            "INSERT INTO people VALUES (%s, %s) ON CONFLICT DO NOTHING", (name, hasher.hash(password))
        )
        return sql.rowcount == 1


def verify(name, password):
    with cursor() as sql:
        sql.execute("SELECT password_hash FROM people WHERE name = %s", (name,))
        row = sql.fetchone()
        try:
            hasher.verify(row[0] if row else NOBODY, password)
        except VerifyMismatchError:
            return False
        if row and hasher.check_needs_rehash(row[0]):
            sql.execute("UPDATE people SET password_hash = %s WHERE name = %s", (hasher.hash(password), name))
        return row is not None


def token_hash(token):
    # Only the hash is stored: who reads the database can take over nobody's session.
    return hashlib.sha256(token.encode()).digest()


def open_session(name):
    token = secrets.token_urlsafe(32)
    with cursor() as sql:
        sql.execute("DELETE FROM sessions WHERE expires < now()")
        sql.execute(
            "INSERT INTO sessions VALUES (%s, %s, now() + make_interval(secs => %s))",
            (token_hash(token), name, SESSION_SECONDS),
        )
    return token


def session_owner(token):
    if not token:
        return None
    with cursor() as sql:
        sql.execute("SELECT name FROM sessions WHERE token_hash = %s AND expires > now()", (token_hash(token),))
        row = sql.fetchone()
        return row[0] if row else None


def close_session(token):
    if token:
        with cursor() as sql:
            sql.execute("DELETE FROM sessions WHERE token_hash = %s", (token_hash(token),))


def ping():
    with cursor() as sql:
        sql.execute("SELECT 1")


migrate()
