"""A gRPC stream in both directions through a proxy: each message is sent when the last has come back."""

import queue
import sys

import grpc


def main() -> None:
    channel = grpc.insecure_channel(sys.argv[1])
    raw = lambda data: data
    call = channel.stream_stream("/gantry.test.v1.Echo/Chat", request_serializer=raw, response_deserializer=raw)
    outgoing: queue.Queue = queue.Queue()
    answers = call(iter(outgoing.get, None), timeout=20)
    for number in range(100):
        message = f"message {number}".encode() * (number + 1)
        outgoing.put(message)
        assert next(answers) == message, number
    outgoing.put(None)
    assert next(answers, None) is None
    print(f"echoed 100 messages one by one, {answers.code().name}")


main()
