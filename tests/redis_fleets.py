"""Redis behind Sentinel and as a Cluster: real processes on ports of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.harness import Process, answers, environment, eventually, free_port, short_folder

MASTER = "mymaster"
_HOST = "127.0.0.1"
DOWN_AFTER_MS = 1000
"""After this a node that does not answer is failed over, here; Redis' defaults are 15 to 30 s."""


def require_redis() -> None:
    """Skips the test if Debian's Redis is not installed; fails it in CI."""
    if shutil.which("redis-server") and shutil.which("redis-cli"):
        return
    missing = "Redis is not installed (Debian: apt-get install redis-server)"
    if os.environ.get("CI"):
        pytest.fail(missing)
    pytest.skip(missing)


class Node:
    """One server; it keeps its port."""

    def __init__(self, folder: Path, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.client: Any = redis.Redis(port=self.port, retry=None)
        data = folder / str(self.port)
        data.mkdir()
        command = ["redis-server", "--port", str(self.port), "--bind", _HOST, "--dir", str(data)]
        self._command = [*command, "--save", "", "--appendonly", "yes", *options]
        self._process: Process | None = None

    def start(self) -> None:
        """Starts it; returns when it answers."""
        self._process = Process(self._command, environment())
        eventually(lambda: answers(self.client), f"the server on port {self.port} answers")

    @property
    def id(self) -> str:
        """Its name in a cluster."""
        return str(self.client.execute_command("CLUSTER", "MYID").decode())

    def kill(self) -> None:
        """Ends it by SIGKILL, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.stop(signal.SIGKILL)


class SentinelFleet:
    """A master, a replica and three Sentinels."""

    def __init__(self, nodes: Sequence[Node], sentinels: Sequence[int]) -> None:
        self.nodes = nodes
        self.sentinels = sentinels

    def url(self, db: int = 0) -> str:
        """The URL of the master, by its Sentinels; the first of them is not there."""
        hosts = ",".join(f"{_HOST}:{port}" for port in (free_port(), *self.sentinels))
        return f"sentinel://{hosts}/{MASTER}/{db}"

    @property
    def master(self) -> Node:
        """The node that accepts writes."""
        return next(node for node in self.nodes if _role(node) == "master")

    def hand_over(self) -> None:
        """Makes the replica the master; the old master lives on, as its replica."""
        old = self.master
        with redis.Redis(port=self.sentinels[0]) as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", MASTER)
        eventually(lambda: _role(old) == "slave", "the old master is a replica")


@contextlib.contextmanager
def sentinel_fleet(*options: str) -> Iterator[SentinelFleet]:
    """A master, its replica and its Sentinels, with these server options."""
    require_redis()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        nodes = [Node(folder, *options), Node(folder, *options)]
        for node in nodes:
            stack.callback(node.kill)
            node.start()
        nodes[1].client.replicaof(_HOST, nodes[0].port)
        ports = [free_port() for _ in range(3)]
        for port in ports:
            watcher = Process(_sentinel(folder, port, nodes[0].port), environment())
            stack.callback(watcher.stop)
        eventually(lambda: all(_knows_all(port) for port in ports), "the Sentinels know each other")
        yield SentinelFleet(nodes, ports)


def _sentinel(folder: Path, port: int, master: int) -> list[str]:
    file = folder / f"sentinel-{port}.conf"
    file.write_text(
        f"port {port}\nbind {_HOST}\ndir {folder}\n"
        f"sentinel monitor {MASTER} {_HOST} {master} 2\n"
        f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
        f"sentinel failover-timeout {MASTER} 3000\n"
    )
    return ["redis-server", str(file), "--sentinel"]


def _knows_all(port: int) -> bool:
    client: Any = redis.Redis(port=port, retry=None)
    try:
        state = client.sentinel_master(MASTER)
    except redis.RedisError:
        return False
    finally:
        client.close()
    return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1


def _role(node: Node) -> str:
    try:
        return str(node.client.role()[0].decode())
    except redis.RedisError:
        return "away"


@dataclass(frozen=True)
class Move:
    """A slot that is being moved from one master to another."""

    slot: int
    source: Node
    target: Node

    def some_keys(self, count: int = 100) -> int:
        """Moves so many of the slot's keys; how many were left."""
        keys = self.source.client.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, count)
        if keys:
            self.source.client.migrate(_HOST, self.target.port, keys, 0, 5000)
        return len(keys)


class Cluster:
    """Three masters with a replica each, or one master alone."""

    def __init__(self, nodes: list[Node], start: Callable[[], Node]) -> None:
        self.nodes = nodes
        self._start = start

    @property
    def url(self) -> str:
        """The cluster's URL, by two of its nodes."""
        return f"redis-cluster://{','.join(f'{_HOST}:{node.port}' for node in self.nodes[:2])}"

    def owner(self, key: str) -> Node:
        """The master that has the key."""
        slot = self._any.client.execute_command("CLUSTER", "KEYSLOT", key)
        for node in self.nodes:
            if _role(node) == "master" and _has(node, slot):
                return node
        raise LookupError(f"no node has slot {slot}")

    def hand_over(self, key: str) -> None:
        """Makes a replica the owner of the key; the old owner lives on, as its replica."""
        old = self.owner(key)
        (replica, *_) = old.client.execute_command("CLUSTER", "REPLICAS", old.id)
        new = next(node for node in self.nodes if node.id == _node_id(replica))
        new.client.execute_command("CLUSTER", "FAILOVER")
        eventually(lambda: _role(old) == "slave", "the old owner is a replica")

    def move(self, key: str, to: Node | None = None, keys_at_once: int = 100) -> None:
        """Moves the key's slot to another master, with all that is in it."""
        with self.moving(key, to) as move:
            while move.some_keys(keys_at_once):
                pass

    @contextlib.contextmanager
    def moving(self, key: str, to: Node | None = None) -> Iterator[Move]:
        """A move of the key's slot, as redis-cli does it; in the block its keys are moved."""
        slot = int(self._any.client.execute_command("CLUSTER", "KEYSLOT", key))
        source = self.owner(key)
        target = to or next(n for n in self.nodes if n is not source and _role(n) == "master")
        target.client.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.client.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        yield Move(slot, source, target)
        others = [n for n in self.nodes if n not in (source, target) and _role(n) == "master"]
        nodes = (target, source, *others)

        def given() -> bool:
            for node in nodes:
                node.client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target.id)
            time.sleep(0.02)
            return all(_owner_id(node, slot) == target.id for node in nodes)

        # The target believes the source instead if that has a newer epoch, of which the target
        # had not heard, and claims the slot once more. So it is with moves in quick succession.
        eventually(given, f"all know the new owner of slot {slot}")

    def join(self) -> Node:
        """One more master, without slots."""
        node = self._start()
        known = self.nodes[0]
        bus_port = known.client.config_get("cluster-port")["cluster-port"]
        self.nodes.append(node)

        def met() -> bool:
            if len(node.client.execute_command("CLUSTER", "NODES").splitlines()) == 1:
                # A node forgets a handshake that takes longer than its timeout.
                node.client.execute_command("CLUSTER", "MEET", _HOST, known.port, bus_port)
            return all(map(self._knows_all, self.nodes))

        eventually(met, "all know the new node")
        return node

    def leave(self, node: Node) -> None:
        """Takes a node without slots out of the cluster; it runs on."""
        self.nodes.remove(node)
        for other in self.nodes:
            other.client.execute_command("CLUSTER", "FORGET", node.id)
        node.client.execute_command("CLUSTER", "RESET")

    def _knows_all(self, node: Node) -> bool:
        known = node.client.execute_command("CLUSTER", "NODES").splitlines()
        return len(known) == len(self.nodes) and _is_ok(node)

    @property
    def _any(self) -> Node:
        return next(node for node in self.nodes if _role(node) != "away")


def _node_id(line: bytes) -> str:
    """The id in a line of CLUSTER NODES or CLUSTER REPLICAS."""
    return line.split()[0].decode()


def _has(node: Node, slot: int) -> bool:
    return _owner_id(node, slot) == node.id


def _owner_id(node: Node, slot: int) -> str | None:
    """The master that has the slot, as far as the node knows."""
    for first, last, primary, *_ in node.client.execute_command("CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return str(primary[2].decode())
    return None


@contextlib.contextmanager
def redis_cluster(
    masters: int = 3, replicas: int = 1, node_timeout_ms: int = DOWN_AFTER_MS
) -> Iterator[Cluster]:
    """A cluster that has all slots and agrees on it."""
    require_redis()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(short_folder())

        def start() -> Node:
            options = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
            options += ["--cluster-node-timeout", str(node_timeout_ms)]
            # A master that gives its last slot away stays one.
            options += ["--cluster-allow-replica-migration", "no"]
            node = Node(folder, *options)
            stack.callback(node.kill)
            node.start()
            return node

        nodes = [start() for _ in range(masters * (1 + replicas))]
        if len(nodes) == 1:
            nodes[0].client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        else:
            command = ["redis-cli", "--cluster", "create"]
            command += [f"{_HOST}:{node.port}" for node in nodes]
            command += ["--cluster-replicas", str(replicas), "--cluster-yes"]
            subprocess.run(command, check=True, capture_output=True)
        cluster = Cluster(nodes, start)
        eventually(lambda: all(_is_whole(node, replicas) for node in nodes), "the cluster is whole")
        yield cluster


def _is_whole(node: Node, replicas: int) -> bool:
    slots = node.client.execute_command("CLUSTER", "SLOTS")
    return _is_ok(node) and all(len(entry) == 3 + replicas for entry in slots)


def _is_ok(node: Node) -> bool:
    return b"cluster_state:ok" in node.client.execute_command("CLUSTER", "INFO")
