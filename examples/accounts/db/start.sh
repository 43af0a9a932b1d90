#!/bin/sh
# Makes the database the first time, and serves it.
set -eu

if [ ! -e "$PGDATA/PG_VERSION" ]; then
    # Made beside its place and moved there when it is whole, so that a kill in the middle leaves nothing half made.
    new=$PGDATA.new
    rm -rf "$new"
    printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
    initdb --pgdata "$new" --username "$POSTGRES_USER" --pwfile /tmp/password --auth scram-sha-256 >/dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    echo "CREATE DATABASE \"$POSTGRES_DB\"" | postgres --single -D "$new" postgres >/dev/null
    mv "$new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
