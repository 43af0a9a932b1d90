"""A small client of Gantry's cluster API: plain grpcio, and code that grpcio-tools makes from the protos."""

import importlib
import io
import json
import os
import pathlib
import sys
import tarfile
import tempfile

import grpc
from grpc_tools import protoc

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def generated():
    """Compiles the protos into a temporary folder, from which they can be imported."""
    folder = tempfile.mkdtemp(prefix="gantry-python-")
    files = [str(path.relative_to(PROTO)) for api in ("cluster", "agent") for path in PROTO.glob(f"gantry/{api}/v1/*.proto")]
    include = str(pathlib.Path(protoc.__file__).parent / "_proto")
    if protoc.main(["", f"-I{PROTO}", f"-I{include}", f"--python_out={folder}", f"--grpc_python_out={folder}", *files]):
        raise SystemExit("the protos could not be compiled")
    sys.path.insert(0, folder)


generated()


def module(name):
    return importlib.import_module(f"gantry.{name}")


containers, images, images_rpc = module("agent.v1.container_pb2"), module("agent.v1.images_pb2"), module("agent.v1.images_pb2_grpc")
cluster, cluster_rpc = module("cluster.v1.cluster_pb2"), module("cluster.v1.cluster_pb2_grpc")
spec = module("cluster.v1.spec_pb2")
stacks, stacks_rpc = module("cluster.v1.stacks_pb2"), module("cluster.v1.stacks_pb2_grpc")
services, services_rpc = module("cluster.v1.services_pb2"), module("cluster.v1.services_pb2_grpc")
events, events_rpc = module("cluster.v1.events_pb2"), module("cluster.v1.events_pb2_grpc")


def context():
    """The certificate that `gantry init` made: the file that the command-line tool uses too."""
    config = os.environ.get("GANTRY_CONFIG") or os.path.expanduser("~/.config/gantry")
    path = pathlib.Path(config) / "contexts" / (os.environ.get("GANTRY_CONTEXT", "default") + ".json")
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise SystemExit(f"there is no {path}: `gantry init` makes it") from None


class Cluster:
    """The scheduler's services, and the images of the first node."""

    def __init__(self):
        known = context()
        credentials = grpc.ssl_channel_credentials(
            known["ca"].encode(), known["key"].encode(), known["certificate"].encode()
        )
        channel = grpc.secure_channel(known["address"], credentials)
        # The first node's agent, which on one host is at the scheduler's address.
        node = cluster_rpc.NodeServiceStub(channel).ListNodes(cluster.ListNodesRequest(), timeout=30).nodes[0]
        host = known["address"].rpartition(":")[0] if known.get("local") else node.addresses[0]
        agent = grpc.secure_channel(f"{host}:{node.agent_port}", credentials)
        self.stacks = stacks_rpc.StackServiceStub(channel)
        self.services = services_rpc.ServiceServiceStub(channel)
        self.replicas = services_rpc.ReplicaServiceStub(channel)
        self.events = events_rpc.EventServiceStub(channel)
        self.images = images_rpc.ImageServiceStub(agent)

    def build(self, tag, folder):
        """Builds an image from a folder."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.add(folder, arcname=".")

        def messages():
            yield images.BuildImageRequest(start=images.BuildImageStart(tags=[tag]))
            yield images.BuildImageRequest(chunk=archive.getvalue())

        for answer in self.images.BuildImage(messages(), timeout=300):
            if answer.image_id:
                return answer.image_id
        raise RuntimeError(f"building {tag} ended without an image")

    def apply(self, stack):
        """Deploys a stack, and answers with what was changed."""
        changes = []
        for step in self.stacks.ApplyStack(stacks.ApplyStackRequest(spec=stack), timeout=300):
            changes.extend(step.result.changes)
        return changes

    def wait(self, name, timeout=60):
        """Waits until a stack has what it wants."""
        for now in self.stacks.WatchStack(stacks.WatchStackRequest(name=name), timeout=timeout):
            if now.converged:
                return list(now.replicas)
        raise RuntimeError(f"the stack {name} is gone")

    def remove(self, name, timeout=60):
        """Removes a stack with its volumes, and waits until it is gone."""
        self.stacks.RemoveStack(stacks.RemoveStackRequest(name=name, volumes=True), timeout=30)
        try:
            for now in self.stacks.WatchStack(stacks.WatchStackRequest(name=name), timeout=timeout):
                if not now.HasField("stack"):
                    return
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.NOT_FOUND:  # gone before we looked
                raise
