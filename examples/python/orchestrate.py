"""Orchestrates from Python: a stack that code builds, deploys, watches, scales and clears away.

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python orchestrate.py
"""

import pathlib

import grpc
from cluster import Cluster, containers, events, services, spec

STACK = "workers"
IMAGE = "gantry-example-worker"
QUEUES = ["mail", "thumbnails", "reports"]


def service(name, command, environment, **more):
    """One service of the worker's image."""
    container = containers.ContainerSpec(
        image=IMAGE, command=containers.Words(words=[command]), environment=environment, init=True
    )
    if command == "prepare":
        container.restart.condition = containers.RESTART_CONDITION_NO
    return spec.ServiceSpec(name=name, container=container, **more)


def stack():
    """A job that prepares, and a worker for each queue that waits for it."""
    prepared = spec.Dependency(
        service="prepare", condition=spec.DEPENDENCY_CONDITION_COMPLETED, required=True
    )
    built = [service("prepare", "prepare", {"QUEUES": " ".join(QUEUES)})]
    for queue in QUEUES:
        worker = service(queue, "work", {"QUEUE": queue}, depends_on=[prepared], replicas=1)
        if queue == "thumbnails":  # pictures are large
            worker.container.resources.memory = 128 * 1024 * 1024
        built.append(worker)
    return spec.StackSpec(name=STACK, services=built)


def running(replicas):
    counts = {}
    for replica in replicas:
        if replica.state == "running":
            counts[replica.service] = counts.get(replica.service, 0) + 1
    return counts


def main():
    cluster = Cluster()
    cluster.build(IMAGE, pathlib.Path(__file__).parent / "image")
    print("built", IMAGE)
    try:
        for change in cluster.apply(stack()):
            print("changed", change.subject)
        print("running", running(cluster.wait(STACK)))
        if not cluster.apply(stack()):
            print("applied again: nothing changed")

        # More workers where the name is longest, which is as good a reason as any.
        busiest = max(QUEUES, key=len)
        before = cluster.services.ScaleService(
            services.ScaleServiceRequest(name=f"{STACK}/{busiest}", replicas=3)
        ).previous
        print(f"scaled {busiest}: {before} → {running(cluster.wait(STACK))[f'{STACK}/{busiest}']}")

        for event in cluster.events.ListEvents(events.ListEventsRequest(subject=STACK, limit=200)).events:
            if event.reason == "Scaled":
                print("event", event.subject, event.message)

        wanted = services.StreamLogsRequest(services=[f"{STACK}/prepare"])
        for piece in cluster.replicas.StreamLogs(wanted, timeout=30):
            print("log", piece.service, piece.data.decode().strip())
    finally:
        try:
            cluster.remove(STACK)
            print("removed", STACK)
        except grpc.RpcError as error:
            print("could not remove", STACK, error.details())
            raise


if __name__ == "__main__":
    main()
