#!/bin/sh
# A job that runs once, or a worker that works until it is told to stop.
trap 'echo "$QUEUE: stopping"; exit 0' TERM
case ${1:-work} in
prepare) echo "prepared $QUEUES" ;;
work)
    while :; do
        echo "$QUEUE: worked"
        sleep 1 & wait $!
    done
    ;;
*) echo "what is $1?" >&2; exit 64 ;;
esac
