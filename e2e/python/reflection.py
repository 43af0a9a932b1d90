"""Drives one container through its whole life on an agent, by gRPC server reflection alone: no
generated code of this project is used.

Usage: reflection.py CONTEXT.json AGENT SCHEDULER
"""

import json
import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def connect(context, address):
    """Certificates name the address too, so a client need not know Gantry's own names."""
    credentials = grpc.ssl_channel_credentials(
        context["ca"].encode(), context["key"].encode(), context["certificate"].encode()
    )
    return grpc.secure_channel(address, credentials)


class Client:
    """Calls whatever the server says that it has."""

    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        self.pool = DescriptorPool(self.database)

    def services(self):
        return sorted(self.database.get_services())

    def call(self, service, method, requests):
        """`requests`: one dict, or a list of them for a stream. Answers with a list of messages."""
        descriptor = self.pool.FindServiceByName(service).FindMethodByName(method)
        request_class = GetMessageClass(descriptor.input_type)
        response_class = GetMessageClass(descriptor.output_type)
        path = f"/{service}/{method}"
        serialize, parse = request_class.SerializeToString, response_class.FromString
        if descriptor.client_streaming:
            make = self.channel.stream_stream if descriptor.server_streaming else self.channel.stream_unary
            argument = iter([request_class(**request) for request in requests])
        else:
            make = self.channel.unary_stream if descriptor.server_streaming else self.channel.unary_unary
            argument = request_class(**requests)
        answer = make(path, request_serializer=serialize, response_deserializer=parse)(argument, timeout=30)
        return list(answer) if descriptor.server_streaming else [answer]


def main():
    context = json.load(open(sys.argv[1]))
    agent = Client(connect(context, sys.argv[2]))
    services = agent.services()
    for part in ["ContainerService", "ImageService", "VolumeService", "NetworkService", "HostService"]:
        assert f"gantry.agent.v1.{part}" in services, services
    assert "grpc.health.v1.Health" in services
    health = health_pb2_grpc.HealthStub(agent.channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING

    containers = "gantry.agent.v1.ContainerService"
    spec = {"image": "gantry-e2e/probe", "environment": {"A": "b"}}
    [created] = agent.call(containers, "CreateContainer", {"name": "e2e-reflection", "spec": spec})
    try:
        print("created", created.id[:12])
        agent.call(containers, "StartContainer", {"id": created.id})
        print("started")
        logs = agent.call(containers, "StreamLogs", {"id": created.id})
        assert b"".join(piece.data for piece in logs) == b"serving on 8080\n", logs
        print("logs", len(logs))
        start = {"start": {"id": created.id, "command": ["/probe", "env", "A"]}}
        answers = agent.call(containers, "Exec", [start, {"stdin_end": True}])
        assert b"".join(answer.stdout for answer in answers) == b"b\n", answers
        assert answers[-1].WhichOneof("message") == "exit_code" and answers[-1].exit_code == 0, answers
        print("exec")
        [sample] = agent.call(containers, "StreamStats", {"id": created.id, "once": True})
        assert sample.memory > 0 and sample.pids > 0, sample
        print("stats", sample.memory)
        agent.call(containers, "StopContainer", {"id": created.id})
        [waited] = agent.call(containers, "WaitContainer", {"id": created.id})
        print("stopped", waited.exit_code)
        agent.call(containers, "RestartContainer", {"id": created.id})
        [seen] = agent.call(containers, "InspectContainer", {"id": created.id})
        assert seen.container.state == 2 and seen.pid > 0, seen
        print("restarted")
    finally:
        agent.call(containers, "RemoveContainer", {"id": created.id, "force": True})
    print("removed")
    try:
        agent.call(containers, "InspectContainer", {"id": created.id})
        raise AssertionError("it is still there")
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
        print("refused", error.details())

    scheduler = Client(connect(context, sys.argv[3]))
    assert "gantry.cluster.v1.StackService" in scheduler.services()
    [nodes] = scheduler.call("gantry.cluster.v1.NodeService", "ListNodes", {})
    assert nodes.nodes[0].ready, nodes


if __name__ == "__main__":
    main()
