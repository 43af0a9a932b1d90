"""Walks through what reflection.py leaves out of an agent's own API, by reflection too.

Usage: agent_api.py CONTEXT.json AGENT
"""

import io
import json
import sys
import tarfile
import time

import grpc
from reflection import Client, connect

CONTAINERS, IMAGES, VOLUMES, NETWORKS = (
    f"gantry.agent.v1.{part}Service" for part in ("Container", "Image", "Volume", "Network")
)
RUNNING, PAUSED, EXITED = 2, 3, 6
NAME = "e2e-api"


def archive(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def refused(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
        assert error.details(), "an error says why"
        return error.details()
    raise AssertionError(f"{code} was expected")


def containers(agent):
    def call(method, **request):
        return agent.call(CONTAINERS, method, request)

    began = int(time.time()) - 1
    spec = {"image": "gantry-e2e/probe", "labels": {"e2e": "api"}, "stdin_open": True, "stdin_once": True, "command": {"words": ["cat"]}}
    [created] = call("CreateContainer", name=NAME, spec=spec)
    id = created.id

    def state():
        return call("InspectContainer", id=id)[0].container.state

    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: call("CreateContainer", name=NAME, spec=spec))
    call("StartContainer", id=id)
    call("PauseContainer", id=id)
    assert state() == PAUSED
    call("UnpauseContainer", id=id)
    assert state() == RUNNING
    call("RenameContainer", id=id, name=f"{NAME}-renamed")
    [top] = call("TopContainer", id=id)
    assert any("cat" in " ".join(process.words) for process in top.processes), top
    labelled = {"label": {"values": ["e2e=api"]}}
    [listed] = call("ListContainers", filters=labelled)
    assert [container.name for container in listed.containers] == [f"{NAME}-renamed"], listed
    [none] = call("ListContainers", filters={"label": {"values": ["e2e=nothing"]}})
    assert not none.containers
    print("paused, renamed, listed")

    agent.call(CONTAINERS, "CopyIn", [{"start": {"id": id, "path": "/"}}, {"chunk": archive({"note": b"by hand"})}])
    copied = b"".join(piece.chunk for piece in call("CopyOut", id=id, path="/note"))
    with tarfile.open(fileobj=io.BytesIO(copied)) as tar:
        assert tar.extractfile("note").read() == b"by hand"
    refused(grpc.StatusCode.NOT_FOUND, lambda: call("CopyOut", id=id, path="/nothing"))
    print("copied")

    # `cat` answers with what it read once its input ends, and then it ends too.
    said = agent.call(
        CONTAINERS, "Attach", [{"start": {"id": id, "stdin": True}}, {"stdin": b"hello\n"}, {"stdin_end": True}]
    )
    assert b"".join(piece.stdout for piece in said) == b"hello\n", said
    assert call("WaitContainer", id=id)[0].exit_code == 0 and state() == EXITED
    stamped = call("StreamLogs", id=id, timestamps=True, tail=1)
    assert stamped[0].data.endswith(b"hello\n"), stamped
    refused(grpc.StatusCode.FAILED_PRECONDITION, lambda: call("KillContainer", id=id))
    print("attached, waited")

    call("RemoveContainer", id=id)
    events = call(
        "StreamEvents", since={"seconds": began}, until={"seconds": int(time.time()) + 1}, filters={"container": {"values": [id]}}
    )
    actions = [event.action for event in events]
    for action in ["create", "start", "pause", "unpause", "rename", "die", "destroy"]:
        assert action in actions, actions
    print("events", len(events))


def images(agent):
    built = agent.call(
        IMAGES,
        "BuildImage",
        [
            {"start": {"tags": ["e2e-api-built"], "build_args": {"WORD": "x"}, "labels": {"e2e": "api"}}},
            {"chunk": archive({"Dockerfile": b'FROM gantry-e2e/probe\nARG WORD\nRUN ["/probe", "print", "built here"]\n'})},
        ],
    )
    assert any("built here" in step.output for step in built) and built[-1].image_id, built
    agent.call(IMAGES, "TagImage", {"image": "e2e-api-built", "target": "e2e-api-tagged:v1"})
    [seen] = agent.call(IMAGES, "InspectImage", {"image": "e2e-api-tagged:v1"})
    assert seen.image.labels["e2e"] == "api" and seen.image.id == built[-1].image_id, seen
    exported = b"".join(piece.chunk for piece in agent.call(IMAGES, "ExportImage", {"images": ["e2e-api-tagged:v1"]}))
    for name in ["e2e-api-built", "e2e-api-tagged:v1"]:
        agent.call(IMAGES, "RemoveImage", {"image": name})
    refused(grpc.StatusCode.NOT_FOUND, lambda: agent.call(IMAGES, "InspectImage", {"image": "e2e-api-tagged:v1"}))
    size = 512 * 1024
    pieces = [{"chunk": exported[at : at + size]} for at in range(0, len(exported), size)]
    [imported] = agent.call(IMAGES, "ImportImage", pieces)
    assert any("e2e-api-tagged:v1" in name for name in imported.images), imported
    [listed] = agent.call(IMAGES, "ListImages", {"filters": {"reference": {"values": ["e2e-api-tagged"]}}})
    assert len(listed.images) == 1, listed
    agent.call(IMAGES, "RemoveImage", {"image": "e2e-api-tagged:v1"})
    refused(
        grpc.StatusCode.UNAVAILABLE, lambda: agent.call(IMAGES, "PullImage", {"image": "localhost:1/nothing"})
    )
    print("built, tagged, exported, imported, removed", len(exported))


def volumes_and_networks(agent):
    [made] = agent.call(VOLUMES, "CreateVolume", {"name": NAME, "labels": {"e2e": "api"}})
    assert made.volume.driver == "local", made
    [seen] = agent.call(VOLUMES, "InspectVolume", {"name": NAME})
    assert seen.volume.labels["e2e"] == "api", seen
    [listed] = agent.call(VOLUMES, "ListVolumes", {"filters": {"label": {"values": ["e2e=api"]}}})
    assert [volume.name for volume in listed.volumes] == [NAME], listed
    agent.call(VOLUMES, "RemoveVolume", {"name": NAME})
    refused(grpc.StatusCode.NOT_FOUND, lambda: agent.call(VOLUMES, "InspectVolume", {"name": NAME}))

    wanted = {"name": NAME, "subnet": "10.201.7.0/24", "gateway": "10.201.7.9", "internal": True}
    [made] = agent.call(NETWORKS, "CreateNetwork", wanted)
    [seen] = agent.call(NETWORKS, "InspectNetwork", {"id": made.id})
    found = seen.network
    assert (found.name, found.subnet, found.gateway, found.internal) == tuple(wanted.values()), seen
    [listed] = agent.call(NETWORKS, "ListNetworks", {"filters": {"name": {"values": [NAME]}}})
    assert len(listed.networks) == 1, listed
    agent.call(NETWORKS, "RemoveNetwork", {"id": made.id})
    refused(grpc.StatusCode.NOT_FOUND, lambda: agent.call(NETWORKS, "InspectNetwork", {"id": NAME}))
    refused(
        grpc.StatusCode.INVALID_ARGUMENT,
        lambda: agent.call(NETWORKS, "CreateNetwork", {"name": NAME, "subnet": "no range"}),
    )
    print("volumes, networks")


def main():
    agent = Client(connect(json.load(open(sys.argv[1])), sys.argv[2]))
    try:
        containers(agent)
        images(agent)
        volumes_and_networks(agent)
    finally:
        for name in [NAME, f"{NAME}-renamed"]:
            try:
                agent.call(CONTAINERS, "RemoveContainer", {"id": name, "force": True})
            except grpc.RpcError:
                pass  # it is gone, as it should be
    [host] = agent.call("gantry.agent.v1.HostService", "GetHost", {})
    assert host.host.engine_version, host
    print("host", host.host.engine_version)


if __name__ == "__main__":
    main()
